"""All fields in one table, what they come to, how hand and model agree, and files to keep."""

from nicegui import html, run, ui
from starlette.requests import Request

from bccd.server.frame import frame
from bccd.server.words import Words
from bccd.study import Study, results
from bccd.study.settings import ClassInfo

_DOWNLOADS = ("pdf", "html", "xlsx", "csv", "json", "coco", "pictures")
_NUMBER = {"filter": "agNumberColumnFilter", "type": "numericColumn", "minWidth": 110}
_TEXT = {"filter": "agTextColumnFilter", "minWidth": 130}


def results_page(study: Study, request: Request) -> None:
    """Build the page."""
    with frame(study, request, "/results", "results-table") as preferences:
        words = preferences.words
        with html.div().classes("page"):
            html.h1(words("nav.results"))
            html.p(words("results.not_diagnostic")).classes("warning")
            _downloads(words)
            _numbers(study, words)
            _fields(study.classes(), words)


def _downloads(words):
    with html.section().classes("row-of").props(f'aria-label="{words("results.downloads")}"'):
        for kind in _DOWNLOADS:
            link = html.a(words(f"results.{kind}"), href=f"/api/results/{kind}", download="")
            link.classes("button primary" if kind == "pdf" else "button")


def _numbers(study, words):
    """Totals and agreement; over thousands of fields they take a while, and the page is there."""

    async def fill():
        found = await run.io_bound(lambda: (results.summary(study), results.agreement(study)))
        if found is None:  # the server ends
            return
        place.clear()
        with place:
            _totals(found[0], words)
            _agreement(found[1], words)

    with html.div().classes("side-by-side") as place:
        html.p(words("results.reading")).classes("faint")
    ui.timer(0, fill, once=True)


def _totals(summary, words):
    with html.section().classes("card"):
        html.h2(words("results.totals", number=summary.fields))
        header = ["class", "total", "mean", "sd", "interval"]
        rows = [
            [name, f"{s.total:,}", _round(s.mean), _round(s.sd), _range(s.low, s.high)]
            for name, s in summary.by_class.items()
        ]
        table([words(f"results.{key}") for key in header], rows)
        if summary.size_ratio:
            html.p(words("results.unequal", ratio=f"{summary.size_ratio:.1f}")).classes("warning")


def _agreement(agreement, words):
    with html.section().classes("card"):
        html.h2(words("results.agreement", number=agreement.fields))
        if not agreement.fields:
            html.p(words("results.no_agreement")).classes("faint")
            return
        header = ["class", "model", "hand", "bias", "limits", "precision", "recall"]
        rows = [
            [
                name,
                f"{a.model:,}",
                f"{a.hand:,}",
                _round(a.bias),
                _range(a.low, a.high),
                _percent(a.precision),
                _percent(a.recall),
            ]
            for name, a in agreement.by_class.items()
        ]
        table([words(f"results.{key}") for key in header], rows)
        html.p(words("results.agreement_hint")).classes("faint")


def table(header: list[str], rows: list[list[str]]) -> None:
    """A plain table; the first column names the rows, the others are figures."""
    with html.table().classes("plain"):
        with html.thead(), html.tr():
            for k, title in enumerate(header):
                html.th(title, scope="col").classes("figure" if k else "")
        with html.tbody():
            for first, *others in rows:
                with html.tr():
                    html.th(first, scope="row")
                    for value in others:
                        html.td(value).classes("figure")


def _fields(classes: list[ClassInfo], words: Words) -> None:
    with html.section().classes("card"):
        with html.div().classes("row-of"):
            html.h2(words("results.fields"))
            html.span().props('id="table-state" role="status"').classes("faint push")
            copy = html.button(words("results.copy"), type="button").classes("button")
            copy.props('id="copy-table"')
        grid = ui.aggrid(
            {
                "columnDefs": columns(classes, words),
                "defaultColDef": {"sortable": True, "floatingFilter": True, "resizable": True},
                "rowData": [],
                "rowHeight": 34,
                ":getRowId": "params => String(params.data.id)",
                ":onGridReady": "event => window.resultsTable.attach(event.api)",
                "overlayNoRowsTemplate": words("results.empty"),
            },
            auto_size_columns=False,
        )
        grid.classes("results-grid")


def columns(classes: list[ClassInfo], words: Words) -> list[dict]:
    """The columns of the table of fields, as AG Grid takes them."""
    found = [
        {
            "headerName": words("table.name"),
            "field": "name",
            "pinned": "left",
            ":cellRenderer": "params => window.resultsTable.link(params)",
            **_TEXT,
            "minWidth": 190,
        },
        {"headerName": words("table.status"), "field": "state", **_TEXT},
    ]
    for cls in classes:
        key = cls.name
        found += [
            {"headerName": key, "field": f"now {key}", **_NUMBER},
            {
                "headerName": words("table.model", name=key),
                "field": f"model {key}",
                **_NUMBER,
                "minWidth": 150,
            },
            {
                "headerName": words("table.interval", name=key),
                "field": f"interval {key}",
                **_TEXT,
                "minWidth": 150,
            },
        ]
    return [
        *found,
        {"headerName": words("table.corrected"), "field": "corrected", **_NUMBER},
        {"headerName": words("table.reviewed"), "field": "reviewed_by", **_TEXT},
        {"headerName": words("table.diameter"), "field": "diameter", **_NUMBER},
        {"headerName": words("table.notes"), "field": "notes", **_TEXT, "minWidth": 260},
    ]


def _round(value):
    return "–" if value is None else f"{value:.1f}"


def _range(low, high):
    return "–" if low is None or high is None else f"{low:.1f} – {high:.1f}"


def _percent(value):
    return "–" if value is None else f"{100 * value:.1f} %"
