"""An ablation: trainings at one budget that differ in some options; read from a yaml file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from bccd.config import get_bccd_cfg
from bccd.engine.setup import available_device, check_config, merge
from bccd.experiments.options import as_arguments
from bccd.suggestions import did_you_mean

_REQUIRED = {"config", "budget", "seeds", "rows"}
_ROW_REQUIRED, _ROW_OPTIONAL = {"name", "options"}, {"base", "note"}


@dataclass(frozen=True)
class AblationRow:
    """One row; ``options`` are all that differ from config and budget, its base's included."""

    name: str
    options: dict
    note: str = ""

    @property
    def folder(self) -> str:
        """The name as that of a folder."""
        return re.sub(r"\W+", "_", self.name).strip("_")


@dataclass(frozen=True)
class Ablation:
    """What a file says; ``name`` is the file's, and the first of the rows is the baseline."""

    name: str
    config: str
    budget: dict
    seeds: tuple
    rows: tuple

    def select(self, names: Sequence[str]) -> list[AblationRow]:
        """The rows of these names, in the order of the file; all if ``names`` is empty.

        Raises:
            ValueError: there is no row of that name.
        """
        known = [row.name for row in self.rows]
        for name in names:
            hint = f"{did_you_mean(name, known)} There are: {', '.join(known)}"
            _require(name in known, f"there is no row {name!r}.{hint}")
        return [row for row in self.rows if not names or row.name in names]

    def options(self, row: AblationRow, seed: int) -> dict[str, object]:
        """{key: value} of one training, as JSON keeps them."""
        return {**self.budget, **row.options, "SEED": seed}


def read_ablation(file: Path) -> Ablation:
    """Read an ablation.

    Args:
        file: yaml with ``config`` (path), ``budget`` ({key: value} of every row), ``seeds``
            (list of int) and ``rows``: a list of ``name``, ``options`` ({key: value}) and, if
            wanted, ``base`` (an earlier row, whose options are added) and ``note`` (for readers).

    Returns:
        Ablation.

    Raises:
        ValueError: names the row and what is wrong with it.
    """
    content = yaml.safe_load(file.read_text())
    _check_keys(content, _REQUIRED, set(), file)
    rows = {}
    for entry in content["rows"]:
        row = _read_row(entry, rows, content["budget"], file)
        _require(
            row.folder not in {other.folder for other in rows.values()},
            f"{file}: two rows have a name like {row.name!r}",
        )
        rows[row.name] = row
    _require(rows, f"{file}: rows is empty")
    return Ablation(
        name=file.stem,
        config=content["config"],
        budget=content["budget"],
        seeds=tuple(content["seeds"]),
        rows=tuple(rows.values()),
    )


def _read_row(entry, earlier, budget, file):
    _check_keys(entry, _ROW_REQUIRED, _ROW_OPTIONAL, f"{file}: row {entry}")
    name, options, base = entry["name"], entry["options"], entry.get("base")
    if base is not None:
        _require(base in earlier, f"{file}: row {name!r}: its base {base!r} is no earlier row")
        options = {**earlier[base].options, **options}
    fixed = sorted({*budget, "SEED", "OUTPUT_DIR"} & set(options))
    _require(
        not fixed,
        f"{file}: row {name!r} sets {', '.join(fixed)}, which is fixed for all rows; what rows "
        "change belongs to the options of a row that they have as base, not to the budget",
    )
    return AblationRow(name, dict(options), entry.get("note", ""))


def _check_keys(content, required, optional, where):
    known = required | optional
    _require(isinstance(content, dict), f"{where}: expected {', '.join(sorted(known))}")
    missing, unknown = required - content.keys(), content.keys() - known
    _require(not missing, f"{where}: {', '.join(sorted(missing))} is missing")
    _require(not unknown, f"{where}: unknown {', '.join(sorted(unknown))}")


def check_rows(ablation: Ablation, extra: Sequence[str] = ()) -> None:
    """Build the config of every row, so that no mistake shows after hours of training.

    Args:
        ablation: Ablation.
        extra: ``KEY VALUE`` list that every training gets last.

    Raises:
        ValueError: names the row and the key.
    """
    for row in ablation.rows:
        cfg = get_bccd_cfg()
        try:
            arguments = as_arguments(ablation.options(row, ablation.seeds[0]))
            merge(cfg, ablation.config, [*arguments, *extra])
            cfg.MODEL.DEVICE = available_device(cfg.MODEL.DEVICE)
            check_config(cfg)
            _require(cfg.DATASETS.VAL, "DATASETS.VAL is empty: nothing would be measured")
        except ValueError as error:
            raise ValueError(f"row {row.name!r}: {error}") from error


def _require(condition, message):
    if not condition:
        raise ValueError(message)
