import json
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPARSE_RCNN = str(ROOT / "configs" / "SparseRCNN" / "sparse_rcnn_lite_bccd.yaml")
SSD = str(ROOT / "configs" / "SSD" / "ssd_lite_bccd.yaml")
TINY = ["--seconds", "0.01", "--starts", "1", "--size", "64", "80"]
TINY += ["--opts", "INPUT.MIN_SIZE_TEST", "64"]


@pytest.fixture
def benchmark(tmp_path, warm_python, monkeypatch):
    """Runs the tool; returns its report."""
    monkeypatch.setattr(sys, "executable", warm_python.executable)
    main = runpy.run_path(str(ROOT / "tools" / "benchmark.py"))["main"]

    def run(*arguments):
        output = tmp_path / "benchmark.json"
        main([*arguments, "--output", str(output), *TINY])
        return json.loads(output.read_text())

    return run


def test_report_of_a_config(benchmark, capsys):
    report = benchmark("--config-file", SSD)
    (result,) = report["results"]
    assert result["config"] == "ssd_lite_bccd.yaml"
    assert result["network_input"] == [64, 80]
    assert result["train_gflop"] > result["gflop"] > 0
    assert set(result["throughput"]["images_per_second"]) == {"1", "2", "4", "8"}
    assert next(iter(result["forward_split_ms"])) == "data"
    assert {"product", "convolution", "copy_gb_s"} <= set(report["ceiling"])
    printed = capsys.readouterr().out
    assert "ssd_lite_bccd.yaml" in printed and "Ceiling, measured" in printed


def test_comparison_with_the_reference(benchmark, capsys):
    report = benchmark("--config-file", SPARSE_RCNN, "--reference")
    assert [(c["second"], c["run"]) for c in report["comparisons"]] == [
        ("published", "forward"),
        ("published", "train"),
    ]
    assert "published" in capsys.readouterr().out


def test_comparison_with_the_same_config_under_other_options(benchmark):
    options = ["MODEL.ACTIVATION_CHECKPOINTING", "True"]
    report = benchmark("--config-file", SSD, "--against-opts", *options)
    second = f"ssd_lite_bccd.yaml {' '.join(options)}"
    assert {c["second"] for c in report["comparisons"]} == {second}
    forward, _ = report["comparisons"]
    assert forward["first_peak_mib"] > 0


def test_an_option_of_the_other_side_reaches_it(benchmark):
    with pytest.raises(RuntimeError, match="failed"):
        benchmark("--config-file", SSD, "--against-opts", "MODEL.SSD.NUM_CLASSES", "0")


def test_another_revision_runs_its_own_config(tmp_path):
    in_revision = runpy.run_path(str(ROOT / "tools" / "benchmark.py"))["_in_revision"]
    own = tmp_path / "configs" / "SSD" / "ssd_lite_bccd.yaml"
    assert in_revision(Path(SSD), tmp_path) == Path(SSD)  # it has none of that name yet
    own.parent.mkdir(parents=True)
    own.touch()
    assert in_revision(Path(SSD), tmp_path) == own
    assert in_revision(tmp_path / "mine.yaml", ROOT) == tmp_path / "mine.yaml"


def test_reference_and_another_opponent_exclude_each_other(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark("--reference", "--against", SSD)
    assert "leave out --against" in capsys.readouterr().err
