"""Synthetic blood smears: fields of view that are fully determined by a seed.

Importing this package teaches Detectron2's ``PathManager`` the prefix ``smears://``.
"""

from bccd.data.synthetic.dataset import draw_smear, load_smears

__all__ = ["draw_smear", "load_smears"]
