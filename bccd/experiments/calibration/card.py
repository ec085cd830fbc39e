"""What the card of a calibrated model says, for people and on the screen."""

from collections.abc import Sequence

MUCH_FALSE = 0.5  # share of the counted cells of a class that are of none, from which a note is due
ENOUGH_MARKED = 10  # cells of a class in all fields, from which its errors mean something


def errors_table(errors: dict[str, dict], thresholds: dict[str, dict]) -> list[list[str]]:
    """Header and a row for each class: counts, errors and thresholds, before and after.

    Args:
        errors: of :func:`.errors.count_errors`.
        thresholds: {class name: {"before", "after"}}.
    """
    rows = [["class", "marked", "counted", "error per field", "change [95%]", "threshold"]]
    for name, found in errors.items():
        before, after, change = found["before"], found["after"], found["change"]
        low, high = change["interval"]
        same = found["before"] == found["after"]
        rows.append(
            [
                name,
                str(found["marked"]),
                f"{before['counted']} -> {after['counted']}",
                f"{before['error']:.2f} -> {after['error']:.2f}",
                "0" if same else f"{change['error']:+.2f} [{low:+.2f}, {high:+.2f}]",
                _threshold_text(**thresholds[name]),
            ]
        )
    return rows


def _threshold_text(before, after):
    return f"{before:.3f} kept" if before == after else f"{before:.3f} -> {after:.3f}"


def sentences(calibration: dict) -> list[str]:
    """What was done and what not, and how far it can be trusted, a sentence each."""
    found = [
        _thresholds_sentence(calibration["thresholds"]),
        calibration["expected_diameter"]["reason"],
        calibration["fine_tuning"]["reason"],
        calibration["intervals"]["reason"],
        *_trust(calibration),
    ]
    return [sentence for sentence in found if sentence]


def _thresholds_sentence(thresholds):
    kept = [name for name, score in thresholds.items() if score["before"] == score["after"]]
    if len(kept) == len(thresholds):
        return (
            "No threshold is changed: beyond what chance explains, none would improve the counts "
            "of fields that were held back."
        )
    changed = [name for name in thresholds if name not in kept]
    text = f"The thresholds of {', '.join(changed)} are changed"
    return f"{text}, those of {', '.join(kept)} are kept." if kept else f"{text}."


def _trust(calibration):
    fields, errors = calibration["fields"], calibration["errors"]
    if fields < 5:
        yield (
            f"{fields} fields are few: thresholds hardly move, and the errors above say little. "
            "Those of classes with many cells can be trusted first. Correct ten fields."
        )
    rare = [name for name, found in errors.items() if found["marked"] < ENOUGH_MARKED]
    if rare:
        yield (
            f"Fewer than {ENOUGH_MARKED} cells of {', '.join(rare)} are marked: their errors above "
            "mean little."
        )
    for name, found in calibration["correct"].items():
        counted, correct = found["counted"], found["correct"]
        if counted >= ENOUGH_MARKED and correct < (1 - MUCH_FALSE) * counted:
            yield (
                f"Of {counted} {name} that are counted, {correct} are where one is marked: the "
                "number may be right on average, the single cells are not. Look at the pictures."
            )
    if calibration["unchanged"]:
        yield (
            "Fields with exactly the cells that the model counts, taken for fields that nobody has "
            f"looked at, are not used: {calibration['unchanged']}. If they were looked at, add "
            "--all-fields."
        )
    yield from (f"Left out: {reason}." for reason in calibration["left_out"])


def to_text(rows: Sequence[Sequence[str]]) -> str:
    """A table as lines for the screen."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line.rstrip()}" for line in lines)


def _to_table(rows):
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def to_markdown(card: dict, folder: str) -> str:
    """The card of a calibrated model as a Markdown page."""
    calibration = card["calibration"]
    facts = [
        ["", ""],
        ["calibrated from", f"`{calibration['model']}`"],
        ["on", f"{calibration['fields']} corrected fields of `{calibration['data']}`"],
        ["by", f"`{calibration['command']}`"],
        ["file", f"`{card['file']}`, {card['bytes'] / 1e6:.1f} MB"],
        ["SHA-256", f"`{card['sha256']}`"],
        *_export_facts(card["export"]),
        ["published", card["date"]],
        *_training_facts(card.get("training")),
    ]
    parts = [
        f"# {card['name']}",
        card.get("intended_use", ""),
        f"```bash\nbccd count my_images/ --model {folder} -o counted/\n```",
        _to_table(facts),
        "## Counts of the corrected fields",
        "Each field is counted with thresholds that were chosen without it. Errors are the mean "
        "absolute error of a field, in cells; the intervals are over the fields.",
        _to_table(errors_table(calibration["errors"], calibration["thresholds"])),
        "\n".join(f"- {sentence}" for sentence in sentences(calibration)),
        *_fine_tuning_part(calibration["fine_tuning"]),
        *_limits_part(card.get("limits")),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _export_facts(export):
    if export is None:
        return []
    size = f"{export['bytes'] / 1e6:.1f} MB"
    return [
        ["exported", f"`{export['file']}`, {size}"],
        ["SHA-256 of that", f"`{export['sha256']}`"],
    ]


def _training_facts(training):
    data = (training or {}).get("data", {}).get("train")
    return [["trained on, before", ", ".join(data)]] if data else []


def _fine_tuning_part(found):
    if "AP" not in found:
        return []
    rows = fine_tuning_table(found)
    return [
        "## Fine-tuning",
        "On fields that the fine-tuned models have not seen.",
        _to_table(rows),
    ]


def fine_tuning_table(found: dict) -> list[list[str]]:
    """Accuracy and errors without and with the fine-tuning, as rows behind a header."""
    rows = [["", "without", "with fine-tuning"]]
    for key in ("AP", "AP50"):
        values = found[key]["before"], found[key]["after"]
        rows.append([key, *("n/a" if v is None else f"{v:.1f}" for v in values)])
    for name, errors in found["errors"].items():
        before, after = errors["before"]["error"], errors["after"]["error"]
        rows.append([f"error of {name} per field", f"{before:.2f}", f"{after:.2f}"])
    return rows


def _limits_part(limits):
    return ["## Limits", "\n".join(f"- {limit}" for limit in limits)] if limits else []
