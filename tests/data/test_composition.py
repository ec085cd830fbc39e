import numpy as np
import pytest

from bccd.config import get_bccd_cfg
from bccd.data.synthetic import load_smears
from bccd.data.transforms.composition import Composer

RBC, WBC, PLATELETS = range(3)
HEIGHT, WIDTH = 60, 80


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))


@pytest.fixture
def records():
    return load_smears(6, seed=2, height=HEIGHT, width=WIDTH)


def _without(record, category):
    kept = [a for a in record["annotations"] if a["category_id"] != category]
    return {**record, "annotations": kept}


MOSAIC = ("INPUT.MOSAIC.ENABLED", True, "INPUT.MOSAIC.PROB")
PASTE = ("INPUT.COPY_PASTE.ENABLED", True, "INPUT.COPY_PASTE.PROB")


def _composer(records, *options):
    cfg = get_bccd_cfg()
    cfg.merge_from_list(options)
    return Composer(cfg, records)


def _rng(seed=0):
    return np.random.default_rng(seed)


def test_by_default_records_come_as_they_are(records):
    composed = _composer(records)(2, 0.0, _rng())
    assert composed.pop("image").shape == (HEIGHT, WIDTH, 3)
    assert composed == records[2]


def test_mosaics_come_with_their_probability_and_end(records):
    compose = _composer(records, *MOSAIC, 0.5, "INPUT.MOSAIC.UNTIL", 0.8)

    def mosaics(progress):
        plain = compose.read(records[0]["file_name"])
        images = [compose(0, progress, _rng(seed))["image"] for seed in range(100)]
        return sum(not np.array_equal(image, plain) for image in images)

    assert 30 < mosaics(0.0) < 70 and 30 < mosaics(0.79) < 70
    assert mosaics(0.8) == mosaics(1.5) == 0


def test_cells_are_pasted_with_their_probability(records):
    options = (*PASTE, 0.5, "INPUT.COPY_PASTE.CLASSES", ("Platelets",))
    compose = _composer(records, *options, "INPUT.COPY_PASTE.MAX_PASTES", 1)
    empty = _composer([{**record, "annotations": []} for record in records])
    compose.records = empty.records
    pasted = [compose(0, 0.0, _rng(seed))["annotations"] for seed in range(100)]
    assert 30 < sum(map(len, pasted)) < 70
    assert {a["category_id"] for annotations in pasted for a in annotations} == {PLATELETS}


def test_a_seed_determines_the_sample_and_no_other_chance(records):
    options = (*MOSAIC, 0.5, *PASTE, 0.5)
    first, second = (_composer(records, *options) for _ in range(2))
    for seed in range(8):
        np.random.seed(seed)
        one, other = first(seed % 6, 0.0, _rng(seed)), second(seed % 6, 0.0, _rng(seed))
        assert np.array_equal(one.pop("image"), other.pop("image")) and one == other


def test_a_class_without_a_box_is_unlabelled_where_the_config_says_so(records):
    records[1] = _without(_without(records[1], RBC), WBC)
    compose = _composer(records, "INPUT.UNLABELLED_IF_ABSENT", ("RBC",))
    assert compose(0, 0.0, _rng())["unlabelled"].tolist() == [False, False, False]
    assert compose(1, 0.0, _rng())["unlabelled"].tolist() == [True, False, False]


def test_a_mosaic_is_as_unlabelled_as_its_parts(records):
    options = (*MOSAIC, 1.0, "INPUT.UNLABELLED_IF_ABSENT", ("RBC", "WBC"))
    records = [_without(records[0], RBC), *(_without(records[1], WBC) for _ in range(50))]
    marks = _composer(records, *options)(0, 0.0, _rng())["unlabelled"]
    assert marks.tolist() == [True, True, False]


def test_a_pasted_cell_does_not_annotate_its_class(records):
    records[0] = {**records[0], "annotations": []}
    options = (*PASTE, 1.0, "INPUT.UNLABELLED_IF_ABSENT", ("WBC", "Platelets"))
    composed = _composer(records, *options)(0, 0.0, _rng())
    assert composed["annotations"]
    assert composed["unlabelled"].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("INPUT.MOSAIC.PROB", 1.5),
        ("INPUT.MOSAIC.UNTIL", -0.1),
        ("INPUT.COPY_PASTE.PROB", 2.0),
        ("INPUT.UNLABELLED_IF_ABSENT", ("RCB",)),
    ],
)
def test_a_value_it_cannot_take_names_its_key(records, key, value):
    with pytest.raises(ValueError, match=key):
        _composer(records, key, value)


def test_a_misspelt_class_to_paste_is_an_error_and_one_of_others_is_not_pasted(records):
    options = (*PASTE, 0.1, "INPUT.COPY_PASTE.CLASSES")
    match = r"INPUT\.COPY_PASTE\.CLASSES names Platlets; did you mean Platelets\?"
    with pytest.raises(ValueError, match=match):
        _composer(records, *options, ("Platlets",))
    assert _composer(records, *options, ("Monocyte",)).copy_paste is None
    with pytest.raises(ValueError, match="change CLASSES"):
        _composer(records, *options, ())
