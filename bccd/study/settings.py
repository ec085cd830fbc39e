"""How a study counts, and what is known of its models."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, update

from bccd import model_zoo
from bccd.counting.border import Border, check_border
from bccd.data.classes import Color, class_colors
from bccd.detections import DEFAULT_THRESHOLD
from bccd.study import tables
from bccd.study.database import read_fact, write_fact
from bccd.study.errors import StudyError

# Until a model of the user's has been loaded, its classes are not known: those of the project's.
_USUAL = ("RBC", "WBC", "Platelets")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the fields of a study are counted; as the arguments of ``CellCounter``.

    Attributes:
        model: name of a shipped model, or path of a file or folder.
        border: which of the cells count that the border of a field cuts.
        red_cell_diameter: in pixels; None: measured.
        micrometres_per_pixel: None: as the files state it.
        thresholds: {class name: score} where the model's own is not wanted.
    """

    model: str = model_zoo.DEFAULT_MODEL
    border: Border = "all"
    red_cell_diameter: float | None = None
    micrometres_per_pixel: float | None = None
    thresholds: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise StudyError where a value cannot be used."""
        try:
            check_border(self.border)
        except ValueError as error:
            raise StudyError(str(error)) from None
        for name in ("red_cell_diameter", "micrometres_per_pixel"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value < 1e6):
                raise StudyError(f"{name} is {value!r}: expected a number above 0, or nothing")
        for name, value in self.thresholds.items():
            if not (_is_number(value) and 0 <= value <= 1):
                raise StudyError(f"the threshold of {name} is {value!r}: expected 0 to 1")

    @property
    def of_detections(self) -> dict[str, Any]:
        """Those that what is found depends on: where they change, fields are counted again."""
        names = ("model", "red_cell_diameter", "micrometres_per_pixel")
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """What counting again needs to know of a model, without loading it.

    Attributes:
        class_names: of the K classes.
        class_colors: RGB, 0-255, of each.
        thresholds: scores from which detections count, (K,).
        count_intervals: see ``CountIntervals.of``; None: there are none.
        identity: differs where the detector does; empty: not known yet.
    """

    class_names: tuple[str, ...] = _USUAL
    class_colors: tuple[Color, ...] = class_colors(_USUAL)
    thresholds: tuple[float, ...] = (DEFAULT_THRESHOLD,) * len(_USUAL)
    count_intervals: dict | None = None
    identity: str = ""

    def threshold(self, name: str, settings: Settings) -> float:
        """The score from which detections of a class count."""
        own = dict(zip(self.class_names, self.thresholds, strict=True))
        return settings.thresholds.get(name, own.get(name, DEFAULT_THRESHOLD))

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> "ModelFacts":
        """From what ``dataclasses.asdict`` and JSON made of it."""
        return cls(
            tuple(value["class_names"]),
            tuple(tuple(color) for color in value["class_colors"]),
            tuple(value["thresholds"]),
            value["count_intervals"],
            value["identity"],
        )

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> "ModelFacts":
        """From a model card, before the model is loaded."""
        names = tuple(card["class_names"])
        config = card.get("config") or {}
        counting = config.get("COUNTING") or {}
        scores = counting.get("THRESHOLDS") or [
            _score(card.get("operating_points", {}).get(name)) for name in names
        ]
        colors = class_colors(names, (config.get("MODEL") or {}).get("CLASS_COLORS"))
        return cls(names, colors, tuple(scores), counting.get("INTERVALS"))


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """A model that a study can count with.

    Attributes:
        id: for ``Study.change_settings``.
        title: for people.
        card: its model card; None: it has none.
        made_here: it was retrained on this study.
    """

    id: str
    title: str
    card: dict | None
    made_here: bool


@dataclasses.dataclass(frozen=True)
class ClassInfo:
    """A class of cells of the present model.

    Attributes:
        name: of it.
        color: RGB, 0-255.
        threshold: score from which detections count.
        model_threshold: the one that came with the model.
        key: on the keyboard; empty: there are more than nine classes.
    """

    name: str
    color: Color
    threshold: float
    model_threshold: float
    key: str


def read_settings(connection: Connection) -> Settings:
    """Those of the study."""
    return Settings(**(read_fact(connection, "settings") or {}))


def write_settings(connection: Connection, settings: Settings) -> None:
    """Keep them."""
    write_fact(connection, "settings", dataclasses.asdict(settings))


def list_models(connection: Connection) -> list[ModelInfo]:
    """The models that come with the project, then those of the study."""
    shipped = [ModelInfo(n, n, model_zoo.load_card(n), False) for n in model_zoo.list_models()]
    known = {model.id for model in shipped}
    rows = connection.execute(select(tables.models).order_by(tables.models.c.id))
    own = [ModelInfo(r.id, r.title, r.card, r.made_here) for r in rows if r.id not in known]
    return shipped + own


def read_facts(connection: Connection, model: str) -> ModelFacts:
    """What is known of a model."""
    facts = connection.scalar(select(tables.models.c.facts).where(tables.models.c.id == model))
    if facts:
        return ModelFacts.of_json(facts)
    card = read_card(connection, model)
    return ModelFacts.of_card(card) if card else ModelFacts()


def read_card(connection: Connection, model: str) -> dict | None:
    """The card of a model; None: it has none."""
    card = connection.scalar(select(tables.models.c.card).where(tables.models.c.id == model))
    if card is None and model in model_zoo.list_models():
        return model_zoo.load_card(model)
    return card


def write_model(
    connection: Connection,
    model: str,
    *,
    title: str | None = None,
    facts: ModelFacts | None = None,
    card: dict | None = None,
    made_here: bool | None = None,
) -> None:
    """Note a model, or what is newly known of it; None: as it was."""
    given = {"title": title, "card": card, "made_here": made_here}
    values = {key: value for key, value in given.items() if value is not None}
    if facts is not None:
        values["facts"] = json.loads(json.dumps(dataclasses.asdict(facts)))
    known = select(tables.models.c.id).where(tables.models.c.id == model)
    if connection.scalar(known) is not None:
        if values:
            connection.execute(
                update(tables.models).where(tables.models.c.id == model).values(**values)
            )
        return
    new = {"title": Path(model).name or model, "made_here": False, **values}
    connection.execute(tables.models.insert().values(id=model, **new))


def class_infos(facts: ModelFacts, settings: Settings) -> list[ClassInfo]:
    """The classes of a model, with their thresholds."""
    rows: Sequence = list(zip(facts.class_names, facts.class_colors, facts.thresholds, strict=True))
    return [
        ClassInfo(name, color, facts.threshold(name, settings), own, str(k) if k < 10 else "")
        for k, (name, color, own) in enumerate(rows, start=1)
    ]


def _score(point):
    """A threshold of a card's operating points."""
    if isinstance(point, Mapping):
        point = point.get("threshold")
    return float(point) if _is_number(point) else DEFAULT_THRESHOLD


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)
