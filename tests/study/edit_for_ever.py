"""Adds one box after another to a field, and prints a number for each. Not a test itself."""

import sys

from bccd.study import Study


def main(folder, field):
    with Study.open(folder) as study:
        shown = study.field(field)
        for number in range(len(shown.history), 10_000):
            box = [number % 400, 5, number % 400 + 9.5, 14]
            change = {"do": "add", "name": "WBC", "box": box}
            shown = study.edit(field, "Lan", [change], shown.row.version)
            print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
