"""``bccd.CellCounter``: what it takes, what it gives, and what it refuses."""

import dataclasses
import itertools
import json
import sys
import threading

import cv2
import numpy as np
import pytest
import tifffile
from fake_predictor import FakePredictor
from PIL import Image

import bccd
from bccd import CellCounter, CountResult, ImageError
from bccd.counting.count_table import read_table
from bccd.counting.inputs import find_images
from bccd.data.images.decoding import read_rgb
from bccd.data.synthetic import draw_smear, load_smears

POINTS = {"RBC": 0.25, "WBC": 0.7, "Platelets": 0.2}


@pytest.fixture(scope="module")
def counter():
    """The shipped model without PyTorch's part."""
    return CellCounter("ssd_lite", runtime="onnx")


@pytest.fixture(scope="module")
def smear(tmp_path_factory):
    """Path of a synthetic field."""
    path = tmp_path_factory.mktemp("smear") / "field.png"
    cv2.imwrite(str(path), draw_smear(1)[0])
    return path


@pytest.fixture
def fake():
    return CellCounter.of(FakePredictor(POINTS))


def write(path, height=48, width=64, color=(200, 180, 220)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), color, np.uint8))
    return path


def assert_same(first, second):
    for name in ("boxes", "scores", "classes"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.size, first.notes, first.counts) == (second.size, second.notes, second.counts)


def test_the_same_image_is_counted_alike_in_every_form(counter, smear):
    result = counter(str(smear))
    assert result.counts["RBC"] > 5 and result.counts["WBC"] == 1 and result.ok
    assert result.size == (480, 640) and result.file == str(smear)
    assert result.boxes.shape == (sum(result.counts.values()), 4)
    assert (result.boxes[:, 2:] > result.boxes[:, :2]).all()
    rgb = read_rgb(smear)
    assert_same(counter(smear), result)
    assert_same(counter(rgb), result)
    assert_same(counter(rgb[:, :, ::-1], channel_order="BGR"), result)
    assert_same(counter(Image.open(smear)), result)
    assert_same(counter(rgb.astype(np.uint16) * 257), result)
    assert counter(rgb[:, :, ::-1]).counts != result.counts  # which is why the order is asked for


def test_pages_urls_and_turned_pictures(fake, tmp_path, monkeypatch):
    pages = [np.full((48, 64, 3), level, np.uint8) for level in (100, 200)]
    tifffile.imwrite(tmp_path / "two.tif", np.stack(pages), photometric="rgb")
    second = fake(f"{tmp_path}/two.tif#2")
    assert second.file == f"{tmp_path}/two.tif#2" and second.name == "two.tif#2"
    assert fake.predictor.images[-1].mean() == 200
    with pytest.raises(ValueError, match=r"two.tif holds several images; name one, as .*two.tif#1"):
        fake(tmp_path / "two.tif")
    assert [result.name for result in fake.stream(tmp_path)] == ["two.tif#1", "two.tif#2"]
    named = fake.stream([f"{tmp_path}/two.tif#2", tmp_path])
    assert [result.name for result in named] == ["two.tif#2", "two.tif#1"]
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    url = load_smears(1, seed=1, height=20, width=30)[0]["file_name"]
    assert fake(url).size == (20, 30) and fake(url).draw().size[0] % 30 == 0
    turned = Image.fromarray(pages[0])
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    assert fake(Image.open(tmp_path / "turned.png")).size == (64, 48)


def test_grey_deep_and_transparent_arrays_are_read_as_such_files_are(fake):
    def seen(array, **options):
        fake(array, **options)
        return fake.predictor.images[-1]

    grey = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
    for array in (grey, grey[..., None], grey.astype(np.uint16) * 257, grey / np.float32(255)):
        np.testing.assert_array_equal(seen(array), np.repeat(grey[..., None], 3, axis=2))
    clear = np.zeros((4, 6, 4), np.uint8)
    clear[:, :3] = (255, 0, 0, 255)
    assert seen(clear)[0, [0, 5]].tolist() == [[0, 0, 255], [255, 255, 255]]
    assert seen(clear, channel_order="BGR")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("none.jpg", FileNotFoundError, "none.jpg does not exist"),
        (np.zeros((3, 48, 64), np.uint8), ValueError, r"shape \(3, 48, 64\), which is no image"),
        (np.zeros((2, 48, 64, 3), np.uint8), ValueError, r"\(2, 48, 64, 3\), which is no image"),
        (np.zeros((0, 64, 3), np.uint8), ValueError, r"expected \(H, W, 3\)"),
        (np.zeros((48, 64, 3), bool), ValueError, "the array is bool"),
        (np.full((48, 64, 3), -1), ValueError, "negative or not finite"),
        (np.zeros((48, 64, 4), np.uint16), ValueError, "must be uint8"),
        ([[1, 2], [3, 4]], TypeError, "not list; convert it"),
        (None, TypeError, "not NoneType"),
    ],
)
def test_what_is_no_image_is_refused(fake, image, error, message):
    with pytest.raises(error, match=message):
        fake(image)


def test_a_file_that_is_none_is_refused_by_name(fake, tmp_path):
    (tmp_path / "page.jpg").write_text("<html>")
    for name in ("page.jpg", ""):
        with pytest.raises(ValueError, match=str(tmp_path / name)):
            fake(tmp_path / name)
    with pytest.raises(ValueError, match="expected 'RGB' or 'BGR'"):
        fake(np.zeros((48, 64, 3), np.uint8), channel_order="GBR")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, POINTS),
        (0.5, dict.fromkeys(POINTS, 0.5)),
        ({"WBC": 0.4}, {**POINTS, "WBC": 0.4}),
        (0, dict.fromkeys(POINTS, 0.0)),
    ],
)
def test_thresholds(wanted, expected):
    counter = CellCounter.of(FakePredictor(POINTS), wanted)
    assert counter.thresholds == expected and list(counter.thresholds) == list(POINTS)
    counts = counter(np.zeros((48, 64, 3), np.uint8)).counts
    scores = {"RBC": (0.9, 0.3), "WBC": (0.6,), "Platelets": (0.2,)}
    assert counts == {
        name: sum(np.float32(s) >= np.float32(expected[name]) for s in scores[name])
        for name in expected
    }


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"Platelet": 0.4}, "threshold of Platelet.*Did you mean Platelets?"),
        (1.5, "the threshold of RBC is 1.5; expected a score from 0 to 1"),
        ({"WBC": float("nan")}, "the threshold of WBC is nan"),
        ({"WBC": "0.4"}, "the threshold of WBC is '0.4'"),
        (True, "the threshold of RBC is True"),
    ],
)
def test_wrong_thresholds_are_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        CellCounter.of(FakePredictor(POINTS), wanted)


def test_without_operating_points_a_message_says_what_counts(caplog):
    assert CellCounter.of(FakePredictor(), {"RBC": 0.1}).thresholds["WBC"] == 0.5
    assert "every detection of WBC, Platelets with a score of at least 0.5" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "ssd_light"}, FileNotFoundError, "Did you mean ssd_lite?"),
        ({"model": "output/none.pth"}, FileNotFoundError, "none.pth does not exist: expected a"),
        ({"model": "none.onnx"}, FileNotFoundError, "none.onnx does not exist"),
        ({"runtime": "onxx"}, ValueError, "runtime onxx is unknown.*Did you mean onnx?"),
        ({"runtime": "onnx", "device": "cuda"}, ValueError, "device: an exported model cannot be"),
        ({"runtime": "onnx", "config": {"A.B": 1}}, ValueError, "config keys: an exported model"),
        ({"config": {"INPUT.MIN_SIZE_TSET": 1}}, ValueError, "the most similar one is INPUT.MIN_"),
        ({"config_file": "a.yaml"}, ValueError, "is a shipped model, which has its own config"),
        ({"model": "a.pth", "runtime": "onnx"}, ValueError, "onnx runs exported files"),
        ({"device": "cuda:99"}, ValueError, "CUDA is not available here"),
        ({"device": "gpu"}, ValueError, "device gpu is unknown; use cpu, cuda or cuda:N"),
        ({"treshold": 0.5}, TypeError, "treshold"),
    ],
)
def test_wrong_models_and_options_are_refused(monkeypatch, arguments, error, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(error, match=message):
        CellCounter(**arguments)


def test_a_checkpoint_takes_the_config_beside_it(tmp_path):
    from bccd.engine.shipped_models import load_config
    from bccd.model_zoo import find_weights

    checkpoint = tmp_path / "mine.safetensors"
    checkpoint.symlink_to(find_weights("ssd_lite"))
    with pytest.raises(FileNotFoundError, match=r"mine.safetensors has no config.yaml beside it"):
        CellCounter(checkpoint)
    cfg = load_config("ssd_lite")
    cfg.MODEL.WEIGHTS = "somewhere/else.pth"
    (tmp_path / "config.yaml").write_text(cfg.dump())
    with pytest.raises(ValueError, match="is a config file; name the checkpoint"):
        CellCounter(tmp_path / "config.yaml")
    options = {"device": "cpu", "config": {"INPUT.MIN_SIZE_TEST": 64, "INFERENCE.ENABLED": False}}
    found = CellCounter(checkpoint, **{**options, "config": {"INPUT.MIN_SIZE_TEST": 64}})
    other = CellCounter(
        checkpoint, config_file=tmp_path / "config.yaml", device="cpu", thresholds={"RBC": 0.9}
    )
    assert found.class_names == ("RBC", "WBC", "Platelets")
    assert found.predictor.prepare(np.zeros((128, 128, 3), np.uint8))["image"].shape[1:] == (64, 64)
    assert other.thresholds == {**found.thresholds, "RBC": 0.9}


def test_a_result_explains_itself(fake, tmp_path):
    result = fake(write(tmp_path / "a.jpg"))
    assert repr(result) == f"CountResult('{tmp_path}/a.jpg', 64 x 48: RBC 2, WBC 0, Platelets 1)"
    assert result.counts == {"RBC": 2, "WBC": 0, "Platelets": 1}
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.size = (1, 1)
    found = result.to_coco()
    assert found["images"] == [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}]
    assert [a["category_id"] for a in found["annotations"]] == [1, 1, 3]
    assert json.loads(json.dumps(found)) == found
    grey = dataclasses.replace(result, notes=("a grey image",))
    assert repr(grey).endswith("Platelets 1; a grey image)")


def test_notes_say_which_counts_not_to_trust():
    class Small(FakePredictor):
        field_size = (48, 64)

    counter = CellCounter.of(Small(POINTS))
    assert counter(np.full((48, 64, 3), (200, 0, 90), np.uint8)).notes == ()
    (note,) = counter(np.full((96, 128, 3), (200, 0, 90), np.uint8)).notes
    assert note.startswith("128 x 96 pixels, but the detector was trained on images of about 64 x")


def test_a_picture_is_of_the_image_and_is_never_counted(fake, tmp_path):
    path = write(tmp_path / "a.png", color=(10, 20, 230))
    picture = fake(path).draw()
    assert isinstance(picture, Image.Image) and picture.size[0] % 64 == 0
    assert picture.getpixel((picture.width // 2, 4)) == (230, 20, 10)
    of_array = fake(read_rgb(path)).draw(title="a.png")
    np.testing.assert_array_equal(np.asarray(of_array), np.asarray(picture))
    other = dataclasses.replace(fake(path), class_colors=[(9, 9, 9)] * 3)
    for changed in (fake(path).draw(scores=False), fake(path).draw(labels=False), other.draw()):
        assert np.asarray(changed).tobytes() != np.asarray(picture).tobytes()
    picture.save(tmp_path / "drawn.png")
    picture.save(tmp_path / "drawn.jpg")
    assert Image.open(tmp_path / "drawn.png").size == picture.size
    (tmp_path / "drawn.jpg").unlink()
    assert [image.name for image in find_images([str(tmp_path)]).images] == ["a.png"]


def test_a_stream_has_a_result_for_each_image_in_order(fake, tmp_path, caplog):
    for name in ("c", "a", "d"):
        write(tmp_path / f"in/{name}.png")
    (tmp_path / "in/b.png").write_text("nothing")
    write(tmp_path / "in/more/e.png")
    results = list(fake.stream(str(tmp_path / "in")))
    assert [result.name for result in results] == ["a.png", "b.png", "c.png", "d.png"]
    assert [result.ok for result in results] == [True, False, True, True]
    assert "Left out" in caplog.text and "in/more" in caplog.text
    bad = results[1]
    assert bad.status.startswith("unreadable: ") and "b.png', not counted: unrea" in repr(bad)
    for read in (lambda: bad.counts, bad.draw, bad.to_coco):
        with pytest.raises(ImageError, match=r"in/b.png is not counted: unreadable"):
            read()
    stream = fake.stream(tmp_path / "in", on_error="raise")
    assert next(stream).name == "a.png"
    with pytest.raises(ImageError, match=r"in/b.png: unreadable"):
        next(stream)
    with pytest.raises(FileNotFoundError, match="none"):
        fake.stream(tmp_path / "none")
    with pytest.raises(ValueError, match="expected 'yield' or 'raise'"):
        fake.stream(tmp_path, on_error="skip")


def test_a_stream_holds_few_images_however_many_there_are(fake):
    made = []

    def frames():
        for number in itertools.count():
            made.append(number)
            yield np.full((48, 64, 3), number % 256, np.uint8)

    before = set(threading.enumerate())
    stream = fake.stream(frames())
    for number, result in enumerate(itertools.islice(stream, 30)):
        assert result.file is None and result.counts["RBC"] == 2
        assert len(made) <= number + 6
    assert set(threading.enumerate()) > before
    stream.close()
    assert set(threading.enumerate()) <= before


def test_a_buffer_that_is_used_again_gives_a_result_for_each_image(fake):
    buffer = np.zeros((48, 64, 3), np.uint8)

    def frames():
        for level in range(20, 220, 20):
            buffer[:] = level
            yield buffer

    results = list(fake.stream(frames(), channel_order="BGR"))
    assert [image.mean() for image in fake.predictor.images] == list(range(20, 220, 20))
    levels = [np.asarray(result.draw())[-100, -100].mean() for result in results[:2]]
    assert levels == [20, 40]


def test_images_are_read_in_another_thread_and_drawn_in_a_third(tmp_path):
    class Threads(FakePredictor):
        def prepare(self, image):
            readers.add(threading.get_ident())
            return image

    readers = set()
    for name in "abc":
        write(tmp_path / f"in/{name}.png")
    counter = CellCounter.of(Threads(POINTS))
    pictures = tmp_path / "out"
    results = list(counter.stream(tmp_path / "in", pictures=pictures))
    assert threading.get_ident() not in readers and len(readers) == 1
    for result in results:
        drawn = np.asarray(Image.open(pictures / result.name))
        np.testing.assert_array_equal(drawn, np.asarray(result.draw()))
    with pytest.raises(FileExistsError, match="name another folder"):
        counter.stream(tmp_path / "in", pictures=tmp_path / "in")
    with pytest.raises(ValueError, match="given by their paths"):
        counter.stream(iter([]), pictures=pictures)


def test_files_are_those_of_the_command(fake, tmp_path):
    import demo

    for name in ("s1/a.png", "s1/b.png", "s2/=c.png"):
        write(tmp_path / "in" / name)
    (tmp_path / "in/s1/b.png").write_text("nothing")
    pattern = f"{tmp_path}/in/*/*.png"
    flags = ["--input", pattern, "--output", f"{tmp_path}/out", "--no-pictures"]
    assert demo.main(flags, FakePredictor(POINTS)) == 1
    table, coco = tmp_path / "api.csv", tmp_path / "api.json"
    fake.to_csv(pattern, table)
    assert table.read_bytes() == (tmp_path / "out/counts.csv").read_bytes()
    fake.to_csv(fake.stream(pattern), table)
    fake.to_coco([pattern], coco)
    assert table.read_bytes() == (tmp_path / "out/counts.csv").read_bytes()
    written = json.loads((tmp_path / "out/detections.json").read_text())
    del written["info"]["images_folder"]  # which the command knows alone
    assert json.loads(coco.read_text()) == written
    fake.to_csv(fake(np.zeros((48, 64, 3), np.uint8)), table)
    assert read_table(table)[0]["file"] == "image-1"


def test_results_of_another_counter_and_what_is_none_are_refused(fake, tmp_path):
    class Other(FakePredictor):
        class_names = ("a", "b", "c")

    result = CellCounter.of(Other())(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="has the classes a, b, c; expected RBC, WBC, Platelets"):
        fake.to_csv([result], tmp_path / "a.csv")
    with pytest.raises(TypeError, match=r"CellCounter\.stream counts in an iterable of images"):
        fake.to_coco(iter([np.zeros((48, 64, 3), np.uint8)]), tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_the_package_names_what_it_offers():
    assert {"CellCounter", "CountResult", "ImageError"} <= set(dir(bccd))
    assert bccd.CountResult is CountResult
    with pytest.raises(AttributeError, match="no attribute 'CellCountr'"):
        bccd.CellCountr  # noqa: B018
    assert issubclass(ImageError, ValueError) and "bccd.openmp" in sys.modules
