"""The model of a study: how it counts, its card, and retraining it on what was corrected."""

from nicegui import html, run, ui
from starlette.requests import Request

from bccd.counting.border import BORDERS
from bccd.server.frame import frame
from bccd.server.preferences import Preferences
from bccd.server.results_page import table
from bccd.study import Study, StudyError
from bccd.study.settings import ModelInfo

_POLL = 1.0  # seconds


def model_page(study: Study, request: Request) -> None:
    """Build the page."""
    models = study.models()
    with frame(study, request, "/model", "job-list") as preferences, html.div().classes("page"):
        html.h1(preferences.words("nav.model"))
        ui.element("job-list").classes("jobs")
        with html.div().classes("side-by-side"):
            _settings(study, models, preferences)
            _Retraining(study, preferences)
        _card(study, models, preferences)


def _settings(study: Study, models: list[ModelInfo], preferences: Preferences) -> None:
    words, now = preferences.words, study.settings()
    titles = {model.id: _title(model, words) for model in models}
    titles.setdefault(now.model, now.model)

    async def save():
        try:
            await run.io_bound(
                study.change_settings,
                preferences.who,
                model=model.value,
                border=border.value,
                red_cell_diameter=diameter.value or None,
                micrometres_per_pixel=micrometres.value or None,
            )
            await run.io_bound(study.count, preferences.who)
        except StudyError as error:
            outcome.set_text(str(error))
        else:
            outcome.set_text(words("model.saved"))

    with html.section().classes("card grow"):
        html.h2(words("model.settings"))
        model = _select(words("model.model"), titles, now.model)
        borders = {border: words(f"border.{border}") for border in BORDERS}
        border = _select(words("model.border"), borders, now.border)
        diameter = _number(words("model.diameter"), now.red_cell_diameter)
        micrometres = _number(words("model.micrometres"), now.micrometres_per_pixel)
        html.p(words("model.kept")).classes("faint")
        with html.div().classes("row-of"):
            html.button(words("model.save"), type="button").classes("button primary").on(
                "click", save
            )
        outcome = ui.label().props('role="status"')


def _select(label, options, value):
    with html.label().classes("setting"):
        html.span(label)
        chosen = html.select().classes("input")
        with chosen:
            for key, title in options.items():
                option = html.option(title, value=key)
                if key == value:
                    option.props("selected")
    return _Value(chosen, value)


def _number(label, value):
    with html.label().classes("setting"):
        html.span(label)
        chosen = html.input_(type="number", min="0", step="any").classes("input")
        if value is not None:
            chosen.props["value"] = value
    return _Value(chosen, value, _positive)


def _positive(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


class _Value:
    """What a browser's own field holds."""

    def __init__(self, field, value, read=str):
        self.value, self._read = value, read
        field.on("change", self._take, js_handler="(event) => emit(event.target.value)")

    def _take(self, event):
        self.value = self._read(event.args)


class _Retraining:
    """Starting a retraining, and what the last one brought."""

    def __init__(self, study: Study, preferences: Preferences) -> None:
        self.study, self.preferences, self.words = study, preferences, preferences.words
        self.change = study.change_number()
        with html.section().classes("card grow"):
            html.h2(self.words("retrain.title"))
            html.p(self.words("retrain.hint")).classes("faint")
            with html.label().classes("setting"):
                html.span(self.words("retrain.name"))
                name = html.input_(maxlength="60", value="my_model").classes("input")
            self.name = _Value(name, "my_model")
            ways = {way: self.words(f"retrain.{way}") for way in ("fine_tune", "thresholds")}
            self.way = _select(self.words("retrain.way"), ways, "fine_tune")
            with html.div().classes("row-of"):
                button = html.button(self.words("retrain.start"), type="button")
                button.classes("button primary").on("click", self.start)
            self.outcome = ui.label().props('role="status"')
            self.show()
        ui.timer(_POLL, self.follow)

    async def start(self) -> None:
        """Ask for it."""
        who, name, fine_tune = self.preferences.who, self.name.value, self.way.value == "fine_tune"
        try:
            await run.io_bound(self.study.retrain, who, name, fine_tune=fine_tune)
        except StudyError as error:
            self.outcome.set_text(str(error))
        else:
            self.outcome.set_text(self.words("retrain.started"))

    @ui.refreshable_method
    def show(self) -> None:
        """The last retraining that ended well, before and after on fields held back."""
        done = [job for job in self.study.jobs() if job.kind == "retrain" and job.result]
        if not done:
            return
        result = done[0].result
        html.h3(self.words("retrain.result", model=result["model"]))
        header, *rows = result["before_after"]
        table([str(each) for each in header], [[str(each) for each in row] for row in rows])
        if result["model"] != self.study.settings().model:
            use = html.button(self.words("retrain.use"), type="button").classes("button")
            use.on("click", lambda: self.use(result["model"]))
        for sentence in result["sentences"]:
            html.p(sentence)

    async def use(self, model: str) -> None:
        """Count with a model from now on."""
        who = self.preferences.who
        try:
            await run.io_bound(self.study.change_settings, who, model=model)
            await run.io_bound(self.study.count, who)
        except StudyError as error:
            self.outcome.set_text(str(error))
        else:
            ui.navigate.to("/model")

    async def follow(self) -> None:
        """Show again when something has changed."""
        change = await run.io_bound(self.study.change_number)
        if change is not None and change != self.change:
            self.change = change
            self.show.refresh()


def _card(study: Study, models: list[ModelInfo], preferences: Preferences) -> None:
    """What is known of the present model."""
    words, now = preferences.words, study.settings().model
    model = next((model for model in models if model.id == now and model.card), None)
    if model is None:
        return
    card = model.card
    with html.section().classes("card"):
        html.h2(words("card.title", model=model.title))
        html.p(card.get("intended_use", ""))
        if limits := card.get("limits"):
            html.h3(words("card.limits"))
            with html.ul():
                for limit in [limits] if isinstance(limits, str) else limits:
                    html.li(limit)
        _operating_points(card, words)
        scores = ", ".join(f"{cls.name} {cls.threshold:.3f}" for cls in study.classes())
        html.p(words("card.counting", scores=scores))


def _operating_points(card, words):
    points = card.get("operating_points") or {}
    rows = [
        [name, *(f"{point[key]:.3f}" for key in ("threshold", "precision", "recall", "f1"))]
        for name, point in points.items()
        if isinstance(point, dict) and {"threshold", "precision", "recall", "f1"} <= set(point)
    ]
    if rows:
        html.h3(words("card.points", dataset=card.get("operating_points_chosen_on", "")))
        header = ("class", "threshold", "precision", "recall", "f1")
        table([words(f"results.{key}") for key in header], rows)


def _title(model: ModelInfo, words) -> str:
    return f"{model.title} ({words('model.made_here')})" if model.made_here else model.title
