"""Data sets that Detectron2 knows by itself."""

from detectron2.data import DatasetCatalog

# ``catalog`` imports this before it registers any: none of these is ever what somebody meant here.
BUILT_IN = frozenset(DatasetCatalog)
