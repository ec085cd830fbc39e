"""The ``bccd`` command: how it is used, what it prints and its exit statuses."""

import json
import os
import subprocess
import sys
import types

import cv2
import numpy as np
import pytest
from fake_predictor import FakePredictor

from bccd import cli, console, model_zoo
from bccd.commands.count import parse_by_class


@pytest.fixture
def command(monkeypatch):
    """Installs a subcommand ``try-it`` that does what ``run(args)`` does."""

    def install(run):
        module = types.SimpleNamespace(
            __doc__="Try it.",
            SUMMARY="try it",
            add_arguments=lambda parser: parser.add_argument("--number", type=int, required=True),
            run=run,
        )
        monkeypatch.setattr(cli, "list_commands", lambda: ["try-it"])
        monkeypatch.setattr(cli, "load_command", lambda name: module)

    return install


def test_each_subcommand_has_help_and_a_json_flag(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    overview = capsys.readouterr().out
    assert {"count", "models"} <= set(cli.list_commands())
    for name in cli.list_commands():
        assert cli.load_command(name).SUMMARY in " ".join(overview.split())
        text = cli.command_parser(name).format_help()
        assert "--json" in text and "exit status:" in text


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["try_it"], "unknown command try_it. Did you mean try-it?"),
        (["xyz"], "unknown command xyz. There are: try-it."),
        (["try-it", "--nubmer=3"], "unknown option --nubmer. Did you mean --number?"),
        (["try-it", "--num", "3"], "unknown option --num."),
        (["try-it"], "the following arguments are required: --number"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_command_line_is_refused_with_a_suggestion(command, capsys, argv, message):
    command(lambda args: 0)
    assert cli.main(argv) == console.REFUSED
    output = capsys.readouterr()
    assert message in output.err and "usage: bccd" in output.err and output.out == ""
    assert cli.main([*argv, "--json"]) == console.REFUSED
    assert json.loads(capsys.readouterr().out)["status"] == console.REFUSED


def refuse(args):
    with console.refusing():
        raise FileNotFoundError("no such file")


def fail(args):
    raise RuntimeError("a defect")


def interrupt(args):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("run", "status", "message"),
    [
        (refuse, console.REFUSED, "no such file"),
        (fail, console.FAILED, "RuntimeError: a defect"),
        (interrupt, console.INTERRUPTED, "start the same command again"),
    ],
)
def test_each_way_to_end_has_its_status(command, capsys, run, status, message):
    command(run)
    assert cli.main(["try-it", "--number", "1"]) == status
    output = capsys.readouterr()
    assert message in output.err and output.out == ""
    assert ("Traceback" in output.err) == (status == console.FAILED)
    assert cli.main(["try-it", "--number", "1", "--json"]) == status
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == status and message in found["error"]


def test_json_is_alone_on_standard_output(command, capfd):
    def run(args):
        print("a message")
        console.show(args, {"number": args.number}, f"number {args.number}")
        return console.INCOMPLETE

    command(run)
    assert cli.main(["try-it", "--number", "1", "--json"]) == console.INCOMPLETE
    output = capfd.readouterr()
    assert json.loads(output.out) == {"number": 1} and "a message" in output.err
    assert cli.main(["try-it", "--number", "1"]) == console.INCOMPLETE
    assert capfd.readouterr().out == "a message\nnumber 1\n"


def test_an_interruption_after_the_document_prints_no_second_one(command, capsys):
    def run(args):
        console.show(args, {"number": args.number}, "")
        raise KeyboardInterrupt

    command(run)
    assert cli.main(["try-it", "--number", "1", "--json"]) == console.INTERRUPTED
    assert json.loads(capsys.readouterr().out) == {"number": 1}


def test_models_lists_the_cards(capsys):
    assert cli.main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in found["models"]] == model_zoo.list_models()
    assert found["default"] == model_zoo.DEFAULT_MODEL
    card = model_zoo.load_card("ssd_lite")
    (model,) = (model for model in found["models"] if model["name"] == "ssd_lite")
    for dataset, accuracy in model["accuracy"].items():
        assert accuracy["AP"] == card["metrics"][dataset]["bbox"]["AP"]
    assert cli.main(["models"]) == 0
    text = capsys.readouterr().out
    ap = card["metrics"]["bccd_paper_test"]["bbox"]["AP"]
    assert f"bccd_paper_test: AP {ap:.1f}" in text and f"{card['bytes'] / 1e6:.1f} MB" in text


def test_count_says_in_json_what_it_did(tmp_path, capfd, monkeypatch):
    from bccd.counting import run

    monkeypatch.setattr(run, "load_predictor", lambda choice: FakePredictor())
    picture = np.full((48, 64, 3), 200, np.uint8)
    (tmp_path / "in/more").mkdir(parents=True)
    for name in ("a.png", "b.png", "more/c.png"):
        cv2.imwrite(str(tmp_path / "in" / name), picture)
    (tmp_path / "in/b.png").write_text("nothing")
    flags = ["-o", str(tmp_path / "out"), "--threshold", "RBC=0.2", "--threshold", "WBC=0.7"]
    assert cli.main(["count", str(tmp_path / "in"), *flags, "--json"]) == console.INCOMPLETE
    found = json.loads(capfd.readouterr().out)
    assert found["counts"] == {"RBC": 2, "WBC": 0, "Platelets": 0} and found["counted"] == 1
    assert list(found["not_counted"]) == ["b.png"] and not found["complete"]
    assert list(found["left_out"]) == [str(tmp_path / "in/more")]
    assert found["table"] == str(tmp_path / "out/counts.csv")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "name the images to count in, or a --video"),
        (["a.png", "--video", "b.mp4"], "name the images to count in, or a --video"),
        (["none.png"], "No file, folder or glob match: none.png"),
        (
            ["a.png", "--no-pictures", "b.png"],
            "unexpected argument b.png: arguments stand together",
        ),
        (["a.png", "--threshold", "much"], "--threshold much: expected SCORE or CLASS=SCORE"),
        (["a.png", "--threshold", "0.3", "--threshold", "RBC=1"], "expected one score for every"),
        (["a.png", "--runtime", "onxx"], "Did you mean onnx?"),
        (["a.png", "--model", "ssd_light"], "Did you mean ssd_lite?"),
        (["a.png", "--num-gpus", "0"], "expected a number of processes, 1 or more, not 0"),
    ],
)
def test_wrong_options_of_count_are_refused(tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", np.full((48, 64, 3), 200, np.uint8))
    assert cli.main(["count", *flags, "-o", "out"]) == console.REFUSED
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_reader_of_a_pipe_may_end_first():
    source, sink = os.pipe()
    os.close(source)
    command = [sys.executable, "-m", "bccd.cli", "models"]
    done = subprocess.run(command, stdout=sink, stderr=subprocess.PIPE, text=True)
    os.close(sink)
    assert done.returncode == console.INCOMPLETE and done.stderr == ""


def test_a_script_ends_as_the_command_does(capsys):
    outcomes = [console.CommandError("name another file"), ValueError("a bug"), 0]

    @console.script
    def main(argv):
        outcome = outcomes.pop(0)
        if outcome:
            raise outcome
        return outcome

    assert main([]) == console.REFUSED
    assert capsys.readouterr().err == "test_cli: name another file\n"
    with pytest.raises(ValueError, match="a bug"):  # raised outside the project
        main([])
    assert main([]) == 0


@pytest.mark.parametrize(
    ("texts", "message"),
    [(["WBC=2", "WBC=3"], "twice for WBC"), (["2", "3"], "twice for every class")],
)
def test_two_numbers_for_a_class_are_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        parse_by_class(texts, "--microlitre-factor", "FACTOR")
