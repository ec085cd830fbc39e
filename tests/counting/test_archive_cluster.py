"""Counting in an archive on a cluster of two workers, of which one dies."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import needs_ray  # noqa: F401
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from fake_predictor import FakePredictor
from ray.cluster_utils import Cluster

from bccd import cli
from bccd.console import DONE, INCOMPLETE, REFUSED
from bccd.counting.archive import cluster
from bccd.counting.archive import run as archive_run
from bccd.counting.archive.listing import Listing
from bccd.counting.archive.part import count_part
from bccd.counting.archive.results import ArchiveResults
from bccd.counting.counter import CellCounter
from bccd.counting.regions.per_image import Regions

FILES = 14
DEADLY = 66  # pixels


class MortalPredictor(FakePredictor):
    """Ends its process at an image of that width; hangs on the machine that a file names."""

    def detect(self, image):
        if image.shape[1] == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        named = Path(os.environ["HANGING_MACHINE"])
        if named.exists() and named.read_text() == ray.get_runtime_context().get_node_id():
            named.with_suffix(".hangs").touch()
            time.sleep(600)
        return super().detect(image)


def use_the_mortal_predictor():
    cluster.load_predictor = lambda choice: MortalPredictor()


def start_cluster():
    """Ray gives a machine half a minute to start, which a busy one may miss."""
    few = {"object_store_memory": 80 * 2**20, "include_dashboard": False, "num_cpus": 1}
    for tries in range(2):
        machines = Cluster()
        try:
            machines.add_node(**few)
            machines.mortal = machines.add_node(**few)
            break
        except Exception as error:  # Ray's own, without a class
            machines.shutdown()
            if tries == 1:
                pytest.skip(f"Ray cannot start on this busy machine: {error}")
    return machines


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """A cluster of two machines of one core each, whose processes have that predictor.

    ``mortal`` is the one that may be taken away, ``hanging`` the file that may name it.
    """
    environment = pytest.MonkeyPatch()
    environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
    environment.setenv("RAY_AUTH_MODE", "disabled")  # a token would be written into the home
    environment.setenv("PYTHONPATH", os.path.dirname(__file__))  # of the processes
    hanging = tmp_path_factory.mktemp("cluster") / "machine"
    environment.setenv("HANGING_MACHINE", str(hanging))
    machines = start_cluster()
    machines.hanging = hanging
    hook = {"worker_process_setup_hook": use_the_mortal_predictor}
    ray.init(machines.address, runtime_env=hook, log_to_driver=False)
    yield machines
    ray.shutdown()
    machines.shutdown()
    environment.undo()


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Images, one of them broken; of which a machine takes four at a time."""
    (tmp_path / "in").mkdir()
    for index in range(FILES - 1):
        image = np.full((40, DEADLY + 1 + index, 3), 200, np.uint8)
        cv2.imwrite(str(tmp_path / f"in/{index:02}.png"), image)
    (tmp_path / "in/07 broken.png").write_text("nothing")
    monkeypatch.setattr(archive_run, "PART", 4)
    return tmp_path / "in"


def count(archive, output, capsys):
    """Run the command; returns its status and what it prints."""
    command = ["count", str(archive), "-o", str(output), "--threshold", "0.25", "--ray", "auto"]
    status = cli.main([*command, "--json"])
    printed = capsys.readouterr().out
    return status, json.loads(printed[printed.index("{") :])


def rows_of(output):
    return {row["file"]: row for row in ArchiveResults(str(output)).rows()}


def test_the_rows_are_those_of_one_process_and_a_second_start_goes_on(
    machines, archive, tmp_path, capsys
):
    status, outcome = count(archive, tmp_path / "out", capsys)
    assert (status, outcome["counted"], outcome["not_counted"]) == (INCOMPLETE, FILES - 1, 1)
    assert outcome["counts"] == {"RBC": 2 * (FILES - 1), "WBC": FILES - 1, "Platelets": 0}
    listing = Listing([str(archive)])
    counter = CellCounter.of(FakePredictor(), 0.25)
    part = count_part(list(listing), listing.stores, counter, Regions())
    rows = rows_of(tmp_path / "out")
    assert list(rows.values()) == part.counts.to_pylist()
    assert rows["07 broken.png"]["status"].startswith("unreadable")
    paths = sorted((tmp_path / "out/detections").iterdir())
    assert pa.concat_tables(map(pq.read_table, paths)) == part.detections

    counts = sorted((tmp_path / "out/counts").iterdir())
    assert len(counts) == 4
    counts[1].unlink()  # as if that had not been finished
    times = [path.stat().st_mtime_ns for path in (counts[0], counts[3])]
    (archive / "07 broken.png").unlink()
    status, outcome = count(archive, tmp_path / "out", capsys)
    assert (status, outcome["counted"]) == (DONE, FILES - 1)
    assert [path.stat().st_mtime_ns for path in (counts[0], counts[3])] == times
    assert len(list((tmp_path / "out/counts").iterdir())) == 4


def test_a_file_that_kills_its_process_is_a_row(machines, archive, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cluster, "RETRIES", 0)
    for path in sorted(archive.iterdir())[2:]:
        path.unlink()
    cv2.imwrite(str(archive / "00.png"), np.full((40, DEADLY, 3), 200, np.uint8))
    status, outcome = count(archive, tmp_path / "out", capsys)
    assert (status, outcome["counted"]) == (INCOMPLETE, 1)
    assert outcome["not_counted_examples"] == {"00.png": cluster.DIED}
    assert rows_of(tmp_path / "out")["01.png"]["status"] == "ok"


def test_a_dead_machine_is_survived(machines, archive, tmp_path, capsys):
    machines.hanging.write_text(machines.mortal.node_id)

    def kill_it_at_work():
        while not machines.hanging.with_suffix(".hangs").exists():
            time.sleep(0.1)
        machines.remove_node(machines.mortal, allow_graceful=False)

    with ThreadPoolExecutor() as pool:
        killed = pool.submit(kill_it_at_work)
        status, outcome = count(archive, tmp_path / "out", capsys)
        killed.result()
    assert (status, outcome["counted"], outcome["not_counted"]) == (INCOMPLETE, FILES - 1, 1)
    assert outcome["counted_twice"] == 0


def test_what_a_cluster_cannot_do_is_refused(machines, archive, tmp_path, capsys):
    command = ["count", str(archive), "-o", str(tmp_path / "out"), "--ray", "auto"]
    assert cli.main([*command, "--cores-each", "9"]) == REFUSED
    assert "no machine of the cluster at auto has 9 CPU" in capsys.readouterr().err
    assert cli.main([*command, "--num-gpus", "2"]) == REFUSED
    assert "--num-gpus is not for a cluster" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
