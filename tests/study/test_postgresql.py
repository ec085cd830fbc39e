"""A study in a real PostgreSQL server, which listens at a socket of a file alone."""

import glob
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from studies import count, draw

from bccd.study import Conflict, Study, StudyError, results


def program(name):
    """Path of one of PostgreSQL's programs; None where it is not installed."""
    places = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", "")]))


@pytest.fixture(scope="module")
def server():
    """URL of a server's database, without its name."""
    if program("initdb") is None or program("pg_ctl") is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    pytest.importorskip("pg8000", reason="the driver pg8000 is not installed")
    folder = Path(tempfile.mkdtemp(prefix="bccd-pg-", dir="/tmp"))  # a socket's path is short
    # PostgreSQL refuses to run as root.
    user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(folder, "postgres", "postgres")

    def run(*command):
        subprocess.run(
            command, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120, **user
        )

    data = str(folder / "data")
    try:
        run(program("initdb"), "-D", data, "-A", "trust", "-U", "lab", "-N", "-E", "UTF8")
        options = f"-c listen_addresses= -c fsync=off -k {folder}"
        log = str(folder / "log")
        run(program("pg_ctl"), "-D", data, "-l", log, "-o", options, "-w", "start")
        try:
            socket = folder / ".s.PGSQL.5432"
            yield f"postgresql+pg8000://lab@/{{}}?unix_sock={socket}"
        finally:
            run(program("pg_ctl"), "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(server, request):
    """URL of an empty database."""
    from sqlalchemy import create_engine, text

    name = f"study_{abs(hash(request.node.name)) % 10**8}"
    engine = create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.format(name)


@pytest.fixture
def study(tmp_path, database, detector):
    """Three fields of 12 discs, counted."""
    with Study.open(tmp_path / "study", create=True, database=database) as study:
        study.allow_folder(tmp_path)
        study.add(draw(tmp_path / "fields", 3), "Lan")
        count(study)
        yield study


def edit(study, field, *changes, who="Lan"):
    return study.edit(field, who, list(changes), study.field(field).row.version)


def test_no_study_is_found_where_there_is_none(tmp_path, database):
    with pytest.raises(StudyError, match="holds no study"):
        Study.open(tmp_path, database=database)
    with pytest.raises(StudyError, match="cannot be opened"):
        Study.open(tmp_path, database=database.replace("unix_sock=", "unix_sock=/nowhere"))


def test_a_study_of_several_readers(study, tmp_path, database):
    assert not (study.folder / "study.db").exists()
    first, second, _ = (row.id for row in study.fields().rows)
    boxes = study.field(first).boxes
    edit(study, first, {"do": "delete", "id": boxes[0].id}, {"do": "accept"})
    with Study.open(study.folder, database=database) as other:
        assert other.field(first) == study.field(first)
        assert other.field(first).row.counts["RBC"] == 11
        before = other.change_number()
        edit(study, second, {"do": "add", "name": "WBC", "box": [1, 1, 30, 30]})
        assert other.change_number() != before
        other.undo(second, "Minh")
        assert study.field(second).row.counts["WBC"] == 0
        with pytest.raises(Conflict):
            study.edit(second, "Lan", [{"do": "accept"}], 0)


def test_lists_and_thresholds(study):
    first = study.fields().rows[0].id
    edit(study, first, {"do": "add", "name": "WBC", "box": [1, 1, 30, 30]}, {"do": "accept"})
    assert study.fields(sort="count:WBC", descending=True).rows[0].id == first
    assert study.fields(text="FIELD 1").total == 1
    assert study.fields(reviewed=True).total == study.fields(noted=True, reviewed=True).total + (
        study.fields(noted=False, reviewed=True).total
    )
    assert study.fields(sort="reviewed").rows[0].id == first
    study.set_thresholds("Lan", {"RBC": 0.9})
    counts = [row.counts["RBC"] for row in study.fields().rows]
    assert counts[0] == 12 and counts[1] == counts[2] < 12
    assert study.totals().counts == {"RBC": sum(counts), "WBC": 1, "Platelets": 0}


def test_many_people_correct_at_once(study):
    ids, failures = [row.id for row in study.fields().rows], []

    def correct(who):
        try:
            for number in range(4):
                while True:
                    box = [10 * number, 5, 10 * number + 9, 14]
                    change = {"do": "add", "name": "WBC", "box": box}
                    try:
                        edit(study, ids[number % 2], change, who=who)
                        break
                    except Conflict:
                        continue
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=correct, args=(str(i),)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and study.totals().counts["WBC"] == 12


def test_results_are_written(study, tmp_path):
    for kind in ("csv", "xlsx", "json", "coco", "html"):
        results.write(study, kind, tmp_path / f"results.{kind}")
    assert results.summary(study).by_class["RBC"].total == 36
