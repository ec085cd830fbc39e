"""A second start of demo.py goes on where the first one ended."""

import pytest
from demo_runs import Crash, annotations, names, rows, run, three_images, write_image
from detectron2.utils.logger import setup_logger
from fake_predictor import FakePredictor

setup_logger(distributed_rank=0, name="bccd")  # before caplog looks for such loggers


class Survivor(FakePredictor):
    def heights(self):
        return [image.shape[0] for image in self.images]


def crashed(tmp_path):
    """The flags of a run of three images that ended after two."""
    three_images(tmp_path)
    flags = ["--input", tmp_path / "in", "--output", tmp_path / "out"]
    with pytest.raises(RuntimeError, match="out of memory"):
        run(*flags, predictor=Crash())
    return flags


def test_a_second_start_goes_on_and_gives_the_same_files(tmp_path):
    flags, again = crashed(tmp_path), Survivor()
    assert run(*flags, predictor=again) == 0
    assert again.heights() == [42]
    run(*flags[:2], "--output", tmp_path / "whole", predictor=Survivor())
    for name in ("counts.csv", "detections.json"):
        assert (tmp_path / "out" / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert not (tmp_path / "out/unfinished").exists()


def test_only_what_is_still_true_is_not_detected_again(tmp_path):
    flags, again = crashed(tmp_path), Survivor()
    write_image(tmp_path / "in/a.png", 60)
    (tmp_path / "out/b.png").unlink()
    assert run(*flags, predictor=again) == 0
    assert again.heights() == [60, 41, 42]
    assert names(tmp_path / "out") == ["a.png", "b.png", "c.png"]


def test_a_line_that_a_kill_cut_short_does_not_count(tmp_path):
    flags, again = crashed(tmp_path), Survivor()
    (part,) = (tmp_path / "out/unfinished").glob("part-*.jsonl")
    part.write_text(part.read_text()[:-20])
    assert run(*flags, predictor=again) == 0
    assert again.heights() == [41, 42]


@pytest.mark.parametrize("change", ["threshold", "model"])
def test_other_settings_start_afresh(tmp_path, caplog, change):
    flags, again = crashed(tmp_path), Survivor()
    if change == "threshold":
        flags += ["--confidence-threshold", "0.7"]
    else:
        again.identity = "another"
    assert run(*flags, predictor=again) == 0
    assert again.heights() == [40, 41, 42]
    assert f"another {change}" in caplog.text and "starting afresh" in caplog.text
    assert rows(tmp_path / "out")[-1][5] == ("3" if change == "threshold" else "6")


def test_a_repaired_image_alone_is_detected_at_the_second_start(tmp_path):
    three_images(tmp_path)
    (tmp_path / "in/b.png").write_text("nothing")
    flags, again = ["--input", tmp_path / "in", "--output", tmp_path / "out"], Survivor()
    assert run(*flags, predictor=Survivor()) == 1
    write_image(tmp_path / "in/b.png", 50)
    assert run(*flags, predictor=again) == 0
    assert again.heights() == [50]
    assert names(tmp_path / "out") == ["a.png", "b.png", "c.png"]


def test_what_is_done_survives_a_crash(tmp_path):
    for name in "abc":
        write_image(tmp_path / f"in/{name}.jpg")
    out = tmp_path / "out"
    with pytest.raises(RuntimeError, match="out of memory"):
        run("--input", tmp_path / "in", "--output", out, predictor=Crash())
    assert len(annotations(out)) == 4
    assert rows(out)[2][:3] == ["c.jpg", "not done yet: start the same command again", ""]
    assert rows(out)[-1][2:] == ["2", "2", "0", "4", *[""] * 10, "1 of 3 images are not counted"]
    assert sorted(path.name for path in out.glob("*.png")) == ["a.png", "b.png"]
