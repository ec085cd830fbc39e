"""Rows of results: what is trained, on which data and what else is evaluated, read from a yaml."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import yaml

from bccd.data.sources.folds import FOLDS
from bccd.experiments.checkout import ROOT
from bccd.suggestions import did_you_mean

ROWS = ROOT / "configs" / "experiments" / "rows.yaml"
DEVICES = ("cpu", "gpu")


@dataclass(frozen=True)
class Changes:
    """What a row adds when it is trained for a given time instead of its schedule."""

    note: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    schedule: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One row of results; the head of ``configs/experiments/rows.yaml`` documents the fields.

    ``pooled``, which no file gives, is the name of the cross-validation that a row is a part of.
    """

    name: str
    title: str
    config: str
    split: str
    device: str
    time: str
    note: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    schedule: Mapping[str, object] = field(default_factory=dict)
    tta: bool = False
    second_annotation: str = ""
    within_minutes: Changes = field(default_factory=Changes)
    folds: bool = False
    pooled: str = ""

    def short(self) -> "Row":
        """This row with the changes for a training of a given time."""
        changes = self.within_minutes
        return replace(
            self,
            note=changes.note or self.note,
            options={**changes.options, **self.options},
            schedule={**self.schedule, **changes.schedule},
        )


def read_rows(file: Path = ROWS) -> dict[str, Row]:
    """Read rows of results by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: names the row and what is wrong with it.
    """
    try:
        content = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is not yaml: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{file}: expected rows by name")
    rows = (_read_row(name, entry, f"{file}: row {name!r}") for name, entry in content.items())
    return {row.name: row for entry in rows for row in _each_fold(entry)}


def _each_fold(row):
    """The rows that one entry stands for."""
    if not row.folds:
        return [row]
    pooled = row.name.removesuffix("_fold")
    return [
        replace(row, name=f"{row.name}{k}", split=f"{row.split}{k}", pooled=pooled)
        for k in range(1, FOLDS + 1)
    ]


def _read_row(name, entry, where):
    row = _build(Row, {"name": name, "pooled": ""}, entry, where)
    if row.device not in DEVICES:
        raise ValueError(f"{where}: device is {row.device}; expected {' or '.join(DEVICES)}")
    if row.folds and (row.tta or row.second_annotation):
        raise ValueError(f"{where}: folds go without tta and second_annotation")
    if not isinstance(row.within_minutes, Changes):
        changes = _build(Changes, {}, row.within_minutes, f"{where}: within_minutes")
        row = replace(row, within_minutes=changes)
    return row


def _build(kind, given, entry, where):
    """An instance of a dataclass from the entry of a yaml; its fields are checked."""
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected keys and values, got {entry!r}")
    known = [f.name for f in fields(kind) if f.name not in given]
    for key in entry:
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}.{_hint(key, known)}")
    try:
        made = kind(**given, **entry)
    except TypeError as error:
        required = ("title", "config", "split", "device", "time")
        missing = ", ".join(key for key in required if key not in entry)
        raise ValueError(f"{where}: {missing} is missing") from error
    for name in ("options", "schedule"):
        if not isinstance(getattr(made, name), dict):
            raise ValueError(f"{where}: {name} is {getattr(made, name)!r}; expected KEY: VALUE")
    return made


def select_rows(rows: Mapping[str, Row], names: Iterable[str]) -> list[Row]:
    """The rows of these names, in their order.

    Raises:
        ValueError: there is no row of a name; the most similar one is named.
    """
    for name in names:
        if name not in rows:
            raise ValueError(f"there is no row {name!r}.{_hint(name, rows)}")
    return [rows[name] for name in names]


def _hint(name, known):
    return f"{did_you_mean(str(name), known)} There are: {', '.join(known)}"
