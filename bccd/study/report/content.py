"""The content of a report, as blocks."""

from collections import Counter
from collections.abc import Iterator

from bccd.study.database import now
from bccd.study.decoder import Decoder
from bccd.study.errors import StudyError
from bccd.study.report.blocks import Block, Heading, Paragraph, Picture, Points, Table
from bccd.study.report.words import Words
from bccd.study.results.comparison import agree
from bccd.study.results.content import Content, Counted
from bccd.study.results.drawn import draw_field, encode
from bccd.study.results.numbers import summarise_content
from bccd.study.settings import read_card

MOST_PICTURES = 200
_LONGEST = 900  # pixels of a picture
_NONE = "–"


def report_blocks(content: Content, words: Words, decoder: Decoder) -> Iterator[Block]:
    """The blocks of a report, from its title on.

    Args:
        content: of the study.
        words: of the language.
        decoder: reads images for the pictures.
    """
    yield Heading(words("title", study=content.study.name), 1)
    yield Paragraph(words("not_diagnostic"), strong=True)
    yield Table([], _facts(content, words))
    yield Heading(words("results"))
    yield from _summary(content, words)
    yield Heading(words("agreement"))
    yield from _agreement(content, words)
    done, regions = Counter(), []
    for field in content.fields():  # one in memory at a time
        done.update(_corrections(field))
        regions += [(field.row.name, region) for region in field.regions]
    yield Heading(words("corrected"))
    yield _corrected(done, words)
    yield Heading(words("all_fields"))
    yield _fields(content, words)
    if regions:
        yield Heading(words("regions"))
        yield _regions(regions, content, words)
    yield Heading(words("model"))
    yield from _model(content, words)
    yield Heading(words("settings"))
    yield Table([], _settings(content, words))
    yield from _pictures(content, words, decoder)


def _facts(content, words):
    rows = content.rows
    people = dict.fromkeys(row.reviewed_by for row in rows if row.reviewed_by)
    counted = sum(row.counts is not None for row in rows)
    return [
        [words("written"), f"{now()[:16].replace('T', ' ')} UTC"],
        [words("fields"), str(len(rows))],
        [words("counted"), str(counted)],
        [words("failed"), str(sum(row.status == "failed" for row in rows))],
        [words("accepted"), str(sum(row.reviewed_at is not None for row in rows))],
        [words("by"), ", ".join(people) or _NONE],
    ]


def _summary(content, words):
    found = summarise_content(content)
    rows = [
        [name, words("in all fields"), str(spread.total), "", ""]
        for name, spread in found.by_class.items()
    ]
    rows += [
        [q.name, words(q.unit), _number(q.value), _number(q.sd), _range(q.low, q.high)]
        for q in found.quantities
    ]
    yield Table([words(k) for k in ("class", "unit", "value", "sd", "interval")], rows, (1,))
    if found.size_ratio:
        yield Paragraph(words("unequal", ratio=f"{found.size_ratio:.1f}"))


def _agreement(content, words):
    found = agree(content)
    if not found.fields:
        yield Paragraph(words("no_agreement"))
        return
    yield Paragraph(words("agreement_text", fields=found.fields))
    head = ["class", "model", "person", "bias", "limits_of", "precision", "recall"]
    yield Table(
        [words(key).lower() for key in head],
        [
            [
                name,
                str(each.model),
                str(each.hand),
                f"{each.bias:+.2f}",
                _range(each.low, each.high),
                _share(each.precision),
                _share(each.recall),
            ]
            for name, each in found.by_class.items()
        ],
    )


def _corrections(field: Counted):
    """What was done to boxes and not undone: who, kind, class, and the class that it became."""
    for entry in field.looked.state.active:
        for each in entry.asked:
            if each["do"] in ("add", "move", "delete", "confirm"):
                yield entry.who, each["do"], each["name"], ""
            elif each["do"] == "class":
                yield entry.who, "change", each["from"], each["to"]


def _corrected(done, words):
    if not done:
        return Paragraph(words("nothing_corrected"))
    rows = [
        [who, words(kind, **{"name": name, "from": name, "to": to}), str(number)]
        for (who, kind, name, to), number in sorted(done.items())
    ]
    return Table([words(key) for key in ("who", "correction", "number")], rows, (1,))


def _fields(content, words):
    names = content.class_names
    rows = []
    for row in content.rows:
        counts, intervals = row.counts or {}, row.intervals or {}
        cells = [_count(counts.get(name), intervals.get(name)) for name in names]
        notes = ". ".join([row.error] if row.error else row.notes)
        rows.append([row.name, *cells, str(row.corrected), row.reviewed_by or _NONE, notes])
    head = [words(key) for key in ("corrections", "by", "notes")]
    last = len(names) + 2
    return Table([words("field"), *names, *head], rows, (last, last + 1))


def _regions(regions, content, words):
    names = content.class_names
    rows = [
        [name, region.name, *(str(region.counts.get(each, 0)) for each in names)]
        for name, region in regions
    ]
    return Table([words("field"), words("region"), *names], rows, (1,))


def _model(content, words):
    card = read_card(content.connection, content.settings.model)
    facts = [
        [words("model").lower(), content.settings.model],
        [words("classes"), ", ".join(content.facts.class_names)],
    ]
    if card is None:
        yield Table([], facts)
        yield Paragraph(words("no_card"))
        return
    trained = ((card.get("training") or {}).get("data") or {}).get("train") or []
    more = {
        "published": card.get("date"),
        "data": ", ".join(trained),
        "sha": card.get("sha256"),
        "use": card.get("intended_use"),
    }
    yield Table([], facts + [[words(key), str(value)] for key, value in more.items() if value])
    if card.get("limits"):
        yield Paragraph(words("limits"))
        yield Points([str(limit) for limit in card["limits"]])


def _settings(content, words):
    settings = content.settings
    return [
        [words("border"), words(f"border_{settings.border}")],
        [words("diameter"), str(settings.red_cell_diameter or words("measured"))],
        [words("pixel"), str(settings.micrometres_per_pixel or words("stated"))],
        *([words("threshold", name=e.name), f"{e.threshold:.3f}"] for e in content.classes),
    ]


def _pictures(content, words, decoder):
    counted = [row for row in content.rows if row.counts is not None]
    if not counted:
        return
    yield Heading(words("pictures"))
    if len(counted) > MOST_PICTURES:
        yield Paragraph(words("more_pictures", shown=MOST_PICTURES, all=len(counted)))

    def drawn(row):
        def draw():
            try:
                return encode(draw_field(content, row, decoder, _LONGEST), ".jpg")
            except StudyError:
                return None

        return draw

    for row in counted[:MOST_PICTURES]:
        counts = ", ".join(f"{name} {number}" for name, number in row.counts.items())
        yield Picture(drawn(row), f"{row.name}: {counts}")


def _count(number, interval):
    if number is None:
        return _NONE
    return str(number) if interval is None else f"{number} ({interval[0]}–{interval[1]})"


def _number(value):
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _range(low, high):
    return "" if low is None else f"{_number(low)} – {_number(high)}"


def _share(value):
    return _NONE if value is None else f"{value:.1%}"
