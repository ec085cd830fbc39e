"""A report as PDF, by ReportLab: one wheel, no library of the system.

WeasyPrint, which could print the HTML report, needs Pango; fpdf2 is under the LGPL. The font is the
project's, which has the letters of Vietnamese, and goes into the file.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab import platypus
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

import bccd.visualization
from bccd.study.report.blocks import Block, Heading, Paragraph, Picture, Points, Table
from bccd.study.report.content import report_blocks
from bccd.study.report.words import Words
from bccd.study.results.content import Content

_FONT = "DejaVuSans"
_MARGIN = 15 * mm
_PAGE = landscape(A4)
_WIDTH = _PAGE[0] - 2 * _MARGIN
_HALF = (_WIDTH - 6 * mm) / 2
_TALLEST = 74 * mm  # of a picture: four on a page
_INK, _LINE, _WARNING = HexColor("#1f2328"), HexColor("#c9ccd1"), HexColor("#b3261e")
_WIDEST_CELL = 300  # letters of a cell, beyond which it is cut: a row must fit on a page


def write_pdf(content: Content, path: Path, language: str) -> None:
    """Write the report; see the module.

    Raises:
        StudyError: there is no such language.
    """
    words = Words(language)
    if _FONT not in pdfmetrics.getRegisteredFontNames():
        fonts = Path(bccd.visualization.__file__).with_name("fonts")
        pdfmetrics.registerFont(TTFont(_FONT, str(fonts / f"{_FONT}.ttf")))
    footer = f"{content.study.name} – {words('not_diagnostic')}"

    def draw_footer(canvas, document):
        canvas.setFont(_FONT, 7)
        canvas.setFillColor(_INK)
        canvas.drawString(_MARGIN, 8 * mm, footer[:200])
        canvas.drawRightString(_PAGE[0] - _MARGIN, 8 * mm, str(document.page))

    margins = {f"{side}Margin": _MARGIN for side in ("left", "right", "top", "bottom")}
    document = platypus.SimpleDocTemplate(
        str(path),
        pagesize=_PAGE,
        title=words("title", study=content.study.name),
        author="bccd",
        lang=language,
        **margins,
    )
    with content.study.pictures.decoders.one() as decoder:
        story = list(_story(report_blocks(content, words, decoder), words))
        document.build(story, onFirstPage=draw_footer, onLaterPages=draw_footer)


def _style(size: float, **more) -> ParagraphStyle:
    leading = more.pop("leading", 1.35 * size)
    return ParagraphStyle(
        "", fontName=_FONT, fontSize=size, leading=leading, textColor=_INK, **more
    )


_TEXT = _style(9, spaceAfter=4)
_CELL, _FIGURE = _style(7.5), _style(7.5, alignment=TA_RIGHT)
_STRONG = _style(
    10,
    borderColor=_WARNING,
    borderWidth=1,
    borderPadding=6,
    borderRadius=3,
    spaceBefore=10,
    spaceAfter=12,
)
_HEADINGS = {1: _style(18, spaceAfter=8), 2: _style(12, spaceBefore=12, spaceAfter=5)}


def _story(blocks: Iterator[Block], words: Words) -> Iterator[platypus.Flowable]:
    pair: list = []
    for block in blocks:
        match block:
            case Picture(draw, caption):
                pair.append(_picture(draw(), caption, words))
                if len(pair) == 2:
                    yield _row(pair)
                    pair = []
            case Heading(text, level):
                yield _paragraph(text, _HEADINGS[level], keepWithNext=True)
            case Paragraph(text, strong):
                yield _paragraph(text, _STRONG if strong else _TEXT)
            case Points(texts):
                yield from (_paragraph(f"• {text}", _TEXT) for text in texts)
            case Table():
                yield _table(block)
    if pair:
        yield _row(pair)


def _paragraph(text, style, **more):
    paragraph = platypus.Paragraph(escape(text), style)
    for name, value in more.items():
        setattr(paragraph, name, value)
    return paragraph


def _table(table):
    figures = [bool(table.header) and k not in (0, *table.words) for k in range(100)]

    def line(texts):
        return [
            _paragraph(text[:_WIDEST_CELL], _FIGURE if figures[k] else _CELL)
            for k, text in enumerate(texts)
        ]

    rows = [line(table.header)] if table.header else []
    rows += [line(row) for row in table.rows]
    if not rows:
        return platypus.Spacer(1, 1)
    drawn = platypus.Table(
        rows, _widths(table, len(rows[0])), repeatRows=int(bool(table.header)), splitByRow=True
    )
    commands = [("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    if table.header:
        commands.append(("LINEBELOW", (0, 0), (-1, 0), 1, _INK))
    drawn.setStyle(platypus.TableStyle(commands))
    return drawn


def _widths(table, columns):
    """Text gets more room than figures."""
    if not table.header:
        return [0.28 * _WIDTH, 0.72 * _WIDTH]
    shares = [2.4 if k in (0, *table.words) else 1.0 for k in range(columns)]
    return [_WIDTH * share / sum(shares) for share in shares]


def _picture(jpeg, caption, words):
    text = _paragraph(caption[:_WIDEST_CELL], _CELL)
    if jpeg is None:
        return [_paragraph(words("unreadable"), _CELL), text]
    image = platypus.Image(io.BytesIO(jpeg))
    factor = min(_HALF / image.imageWidth, _TALLEST / image.imageHeight)
    image.drawWidth, image.drawHeight = image.imageWidth * factor, image.imageHeight * factor
    image.hAlign = "LEFT"
    return [image, text]


def _row(pair):
    cells = [*pair, ""][:2]
    row = platypus.Table([cells], [_HALF + 3 * mm] * 2)
    inside = [("LEFTPADDING", (0, 0), (-1, -1), 0), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    row.setStyle(platypus.TableStyle(inside))
    return row
