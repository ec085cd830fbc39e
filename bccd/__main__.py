"""``python -m bccd`` is the ``bccd`` command."""

import sys

from bccd.cli import main

if __name__ == "__main__":
    sys.exit(main())
