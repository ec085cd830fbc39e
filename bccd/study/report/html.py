"""A report as one HTML file: no script, nothing from elsewhere, pictures inside."""

import base64
from collections.abc import Iterator
from html import escape
from pathlib import Path

from bccd.study.report.blocks import Block, Heading, Paragraph, Picture, Points, Table
from bccd.study.report.content import report_blocks
from bccd.study.report.words import Words
from bccd.study.results.content import Content

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.strong { border: 2px solid #b3261e; border-radius: 6px; padding: .6rem .9rem; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #8886; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
tbody th { font-weight: 500; }
.figure { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
figure { margin: 1.2rem 0; break-inside: avoid; } img { max-width: 100%; height: auto; }
figcaption { font-size: .92rem; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } h2 { break-after: avoid; } }
"""


def write_html(content: Content, path: Path, language: str) -> None:
    """Write the report; see the module.

    Raises:
        StudyError: there is no such language.
    """
    words = Words(language)
    title = escape(words("title", study=content.study.name))
    with (
        open(path, "w", encoding="utf-8") as file,
        content.study.pictures.decoders.one() as decoder,
    ):
        file.write(
            f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            # Even a fault in this module could not run what a file name says.
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'; img-src data:\">\n"
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        )
        for block in report_blocks(content, words, decoder):
            for line in _lines(block, words):
                file.write(line + "\n")
        file.write("</main>\n</body>\n</html>\n")


def _lines(block: Block, words: Words) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text, strong):
            opening = '<p class="strong">' if strong else "<p>"
            yield f"{opening}{escape(text)}</p>"
        case Points(texts):
            yield from ("<ul>", *(f"<li>{escape(text)}</li>" for text in texts), "</ul>")
        case Table():
            yield from _table(block)
        case Picture(draw, caption):
            yield from _figure(draw(), caption, words)


def _table(table):
    kinds = ["" if k in (0, *table.words) or not table.header else "figure" for k in range(100)]
    yield '<div class="wide"><table>'
    if table.header:
        cells = (_cell("th", text, kinds[k], "col") for k, text in enumerate(table.header))
        yield f"<thead><tr>{''.join(cells)}</tr></thead>"
    yield "<tbody>"
    for first, *others in table.rows:
        cells = (_cell("td", text, kinds[k]) for k, text in enumerate(others, start=1))
        yield f"<tr>{_cell('th', first, '', 'row')}{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _cell(tag, text, kind, scope=None):
    about = (f' scope="{scope}"' if scope else "") + (f' class="{kind}"' if kind else "")
    return f"<{tag}{about}>{escape(text)}</{tag}>"


def _figure(jpeg, caption, words):
    yield "<figure>"
    if jpeg is None:
        yield f"<p>{escape(words('unreadable'))}</p>"
    else:
        data = base64.b64encode(jpeg).decode()
        yield f'<img alt="{escape(caption)}" src="data:image/jpeg;base64,{data}">'
    yield f"<figcaption>{escape(caption)}</figcaption></figure>"
