"""The whole of ``make demo`` without BCCD and without a network, on tiny smears."""

import runpy
import sys
from functools import partial
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog

from bccd.data.sources import download
from bccd.data.synthetic import load_smears

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    *("SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64", "TEST.BOOTSTRAP.SAMPLES", "10"),
]


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Neither BCCD nor a network, and the data sets of smears with two tiny images each."""

    def refuse(*_):
        raise download.DownloadError("no network")

    monkeypatch.setattr(download, "_download", refuse)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(ROOT)
    loaders = {}
    for seed, part in enumerate(("train", "val", "test")):
        name = f"smears_{part}"
        loaders[name] = DatasetCatalog[name]
        DatasetCatalog.remove(name)
        DatasetCatalog.register(name, partial(load_smears, 2, seed, 96, 128))
    yield
    for name, load in loaders.items():
        DatasetCatalog.remove(name)
        DatasetCatalog.register(name, load)


def start(script, *flags):
    """Run a script in this process, which has PyTorch loaded; returns its exit status."""
    argv = sys.argv
    sys.argv = [script, *map(str, flags)]
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    except SystemExit as stop:
        return stop.code or 0
    finally:
        sys.argv = argv
    return 0


# Detectron2's default_setup leaves the config file open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_make_demo_ends_well_without_bccd_and_without_a_network(tmp_path, offline, capsys):
    quickstart = runpy.run_path(str(ROOT / "tools/quickstart.py"))
    main = quickstart["main"]
    main.__globals__["start"] = start
    output = tmp_path / "output"
    main(["--output", str(output), "--opts", *TINY])
    printed = capsys.readouterr().out
    assert "BCCD could not be downloaded. Using synthetic smears" in printed
    assert printed.index("Accuracy on the test images") < printed.index("the shipped model")
    assert f"Everything is in {output}" in printed
    assert f"bccd serve {output / 'fields'} --study {output / 'study'}" in printed
    assert printed.rstrip().endswith("opens http://127.0.0.1:8765/")
    assert len(list((output / "fields").iterdir())) == 2
    for name in ("counted/counts.csv", "demo/00000.png", "figures/worst.png", "model_best.pth"):
        assert (output / name).is_file(), name
    # what else takes a registered data set takes the smears, too
    results = ["--results", output / "inference", "--dataset", "smears_test"]
    assert start("tools/analyse_errors.py", *results, "--output", tmp_path / "errors") == 0
    figures = ["--dataset", "smears_val", "--output", tmp_path / "data", "--augmentations"]
    assert start("tools/visualize_data.py", *figures) == 0
    assert len(list((tmp_path / "data").glob("*.png"))) == 4
