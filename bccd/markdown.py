"""Tables inside pages that are otherwise written by hand."""


def replace_table(text: str, table: str, name: str) -> str:
    """``text`` with ``table`` between the markers ``<!-- name: begin -->`` and ``end``.

    Raises:
        ValueError: a marker is missing.
    """
    begin, end = (f"<!-- {name}: {place} -->" for place in ("begin", "end"))
    if begin not in text or end not in text:
        raise ValueError(f"the markers {begin} and {end} are missing")
    before, rest = text.split(begin, 1)
    return f"{before}{begin}\n{table}\n{end}{rest.split(end, 1)[1]}"
