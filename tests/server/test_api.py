"""The interface of the page, by requests to a running server."""

import contextlib
import json
import signal
import urllib.error
from pathlib import Path

import pytest
from serving import Server

from bccd.server.api import next_field
from bccd.study.field_list import FieldRow


def row(number, reviewed_by=None):
    values = dict.fromkeys(FieldRow._fields) | {"id": number, "reviewed_by": reviewed_by}
    return FieldRow(**values)


@pytest.mark.parametrize(
    ("number", "forward", "unreviewed", "expected"),
    [
        (1, True, False, 2),
        (1, False, False, None),
        (3, True, False, None),
        (2, False, False, 1),
        (1, True, True, 3),
        (3, True, True, 1),
        (9, True, False, 1),
    ],
)
def test_the_next_field(number, forward, unreviewed, expected):
    rows = [row(1), row(2, "Lan"), row(3)]
    assert next_field(rows, number, forward=forward, unreviewed=unreviewed) == expected


def test_no_next_field_where_all_are_reviewed():
    assert next_field([row(1), row(2, "Lan")], 1, forward=True, unreviewed=True) is None


def test_pictures_are_kept_by_the_browser(server):
    assert server.get("/api/fields/1/thumbnail")[:2] == b"\xff\xd8"
    assert server.get("/api/fields/1/tiles/0/0/0")[:2] == b"\xff\xd8"
    field = server.json("/api/fields/1")
    assert field["levels"][0] == {"level": 0, "width": 480, "height": 360, "columns": 1, "rows": 1}
    assert [cls["name"] for cls in field["classes"]] == ["RBC", "WBC", "Platelets"]


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("/api/fields/99/edit", {"changes": [], "version": 1}, 400, "no field 99"),
        ("/api/fields/1/edit", {"changes": [{"do": "paint"}], "version": None}, 400, "version"),
        ("/api/fields/1/edit", [], 400, "no JSON object"),
        ("/api/fields/1/undo", {}, 400, "nothing to undo"),
        ("/api/thresholds", {"thresholds": 3}, 400, "thresholds"),
        ("/api/thresholds", {"thresholds": {"RBC": 7}}, 400, "RBC is 7"),
        ("/api/uploads?name=a.png", {}, 400, ""),
        ("/api/count", {}, 400, "counted with these settings already"),
        ("/api/nothing", {}, 404, "Not Found"),
    ],
)
def test_a_refusal_is_one_sentence(server, path, body, status, sentence):
    answered, content = server.post(path, json.dumps(body).encode())
    assert (answered, list(content)) == (status, ["error"])
    assert sentence in content["error"] and "Traceback" not in content["error"]


def test_a_stroke_on_an_older_version_is_a_conflict(server):
    stroke = {"changes": [{"do": "add", "name": "RBC", "box": [1, 1, 20, 20]}], "version": -1}
    status, content = server.post("/api/fields/1/edit", json.dumps(stroke).encode())
    assert status == 409 and "changed" in content["error"]


def test_the_log_names_who_the_cookie_says(server):
    version = server.json("/api/fields/2")["row"]["version"]
    stroke = {"changes": [{"do": "add", "name": "RBC", "box": [1, 1, 20, 20]}], "version": version}
    cookie = {"Cookie": "bccd_who=Nguy%E1%BB%85n%20Lan"}
    status, field = server.post("/api/fields/2/edit", json.dumps(stroke).encode(), **cookie)
    assert status == 200 and field["history"][-1]["who"] == "Nguyễn Lan"
    assert field["row"]["counts"]["RBC"] == server.json("/api/fields")["rows"][1]["counts"]["RBC"]


def test_results_are_files(server):
    assert server.get("/api/results/pdf")[:5] == b"%PDF-"
    assert b"field_1.png" in server.get("/api/results/csv")
    vietnamese = server.get("/api/results/html", Cookie="bccd_language=vi").decode()
    assert 'lang="vi"' in vietnamese


def test_a_preference_never_leads_elsewhere(server):
    for back in ("//example.org", "https://example.org/", "/\\example.org", "javascript:alert(1)"):
        page = server.get(f"/preferences?theme=dark&back={back}")
        assert b"<!doctype html>" in page.lower()


def test_a_request_from_another_site_is_refused(server):
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.get("/api/fields", Host="example.org")
    assert refused.value.code == 421


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_server_and_its_worker(tmp_path, number, status):
    study = tmp_path / "study"
    with Server(study) as server:
        server.process.send_signal(number)
        assert server.process.wait(60) == status
    assert [command for command in running() if str(study) in command] == []


def running():
    """The command lines of what runs on this computer."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            yield path.read_bytes().decode(errors="replace")


def test_with_a_token_only_who_has_it_gets_in(tmp_path):
    with Server(tmp_path / "study", "--token", "s3cret") as server:
        assert server.address.endswith("/?token=s3cret")
        with pytest.raises(urllib.error.HTTPError) as refused:
            server.get("/api/fields")
        assert refused.value.code == 401
        assert server.get("/api/fields", Cookie="bccd_token=s3cret").startswith(b'{"rows":[]')
