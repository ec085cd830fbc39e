import json

import pytest

from bccd.experiments.ablation_results import ablation_table, read_validations


def write_metrics(folder, *records):
    (folder / "metrics.json").write_text("".join(json.dumps(r) + "\n" for r in records))
    return folder


def step(iteration, time=1.0):
    return {"iteration": iteration, "total_loss": 1.0, "time": time}


def test_last_and_best_validation_are_read(tmp_path):
    early, late = ({"bbox/AP": ap, "bbox/AP-RBC": ap - 1} for ap in (50.0, 40.0))
    write_metrics(tmp_path, {**step(19), **early}, step(39), {"iteration": 40, **late})
    read = read_validations(tmp_path)
    assert read["iterations"] == 40
    assert (read["last"]["iteration"], read["last"]["AP"], read["last"]["AP-RBC"]) == (40, 40, 39)
    assert (read["best"]["iteration"], read["best"]["AP"]) == (19, 50)
    assert "AP-Platelets" not in read["last"]


def test_steps_that_a_resume_repeats_count_once(tmp_path):
    end = {"iteration": 40, "bbox/AP": 1.0}
    write_metrics(tmp_path, step(19, 1.0), step(39, 9.0), step(39, 2.0), end)
    assert read_validations(tmp_path)["seconds"] == 20 * 1.0 + 20 * 2.0


def test_a_training_without_validation_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no bbox/AP"):
        read_validations(write_metrics(tmp_path, step(19)))


def run(seed, ap):
    values = dict.fromkeys(("AP50", "AP75", "AP-RBC", "AP-WBC"), 60.0)
    validation = {"iteration": 8, "AP": ap, **values, "AP-Platelets": None}
    return {
        "seed": seed,
        "seconds": 90.0,
        "last": validation,
        "best": validation,
        "commits": ["0123456789abcdef"],
        "machine": {"device": "abacus", "threads": 2, "torch": "2.4"},
    }


def table(*rows):
    rows = [{"name": name, "note": note, "runs": runs} for name, note, runs in rows]
    text = ablation_table({"config": "a.yaml", "budget": {"SOLVER.MAX_ITER": 8}, "rows": rows})
    caption, _, *lines = text.splitlines()
    return caption, [[c.strip() for c in line.split("|")[1:-1]] for line in lines[2:]]


def test_the_change_is_that_of_the_seeds_both_rows_have():
    _, (first, second, third) = table(
        ("baseline", "", [run(1, 50.0), run(2, 54.0)]),
        ("more", "other data", [run(2, 55.5)]),
        ("most", "", []),
    )
    assert first[:3] == ["baseline", "52.0 [50.0, 54.0]", ""]
    assert second == ["more (other data)", "55.5", "+1.5", *["60.0"] * 4, "n/a", "55.5", "1", "2"]
    assert third[1] == "not trained" and not any(third[2:])


def test_the_caption_says_how_it_was_measured():
    caption, _ = table(("baseline", "", [run(1, 50.0)]))
    for part in ("a.yaml", "SOLVER.MAX_ITER 8", "0123456789;", "abacus, 2 threads, torch 2.4"):
        assert part in caption


def test_nothing_trained_yet_gives_a_table():
    _, rows = table(("baseline", "", []), ("more", "", [run(1, 50.0)]))
    assert [row[1:3] for row in rows] == [["not trained", ""], ["50.0", ""]]


def test_a_training_that_was_ended_says_how_far_it_came():
    ended = {**run(1, 55.0), "iterations": 6}
    rows = [
        {"name": "baseline", "note": "", "runs": []},
        {"name": "long", "note": "", "runs": [], "unfinished": [ended]},
    ]
    text = ablation_table({"config": "a.yaml", "budget": {}, "rows": rows})
    assert "| baseline | not trained" in text
    assert "ended after iteration 6, best AP 55.0" in text
