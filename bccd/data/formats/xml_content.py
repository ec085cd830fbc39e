"""XML files of annotations, with the line of every element."""

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

_START_BYTES = 4096
_ROOT = re.compile(rb"<([A-Za-z_][\w.:-]*)")
LINE = "line"  # the attribute that has an element's line


def root_tag(path: Path) -> str:
    """Name of the first element of an XML file; empty where there is none near its start."""
    with open(path, "rb") as file:
        start = file.read(_START_BYTES).replace(b"\0", b"")  # of UTF-16
    found = _ROOT.search(re.sub(rb"<!--.*?-->", b"", start, flags=re.DOTALL))
    return found[1].decode() if found else ""


def parse_xml(path: Path) -> ElementTree.Element:
    """Root element of an XML file in which every element has its line as attribute ``line``.

    Raises:
        ValueError: it is not well-formed; the message names file and line.
    """
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()

    def start(tag, attributes):
        builder.start(tag, attributes).set(LINE, str(parser.CurrentLineNumber))

    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(Path(path).read_bytes(), True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # the latter two: its encoding
        line = getattr(error, "lineno", 1)
        raise ValueError(f"{path}:{line}: not well-formed XML ({error}).") from None
    return builder.close()
