"""The checkout of the repository, whose scripts and configs the experiments run."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
