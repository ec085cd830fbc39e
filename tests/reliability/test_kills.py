"""What is killed at random moments goes on to the same result; what does not is found."""

import time
from pathlib import Path

import pytest

from bccd.reliability.killed_works import WORKS
from bccd.reliability.kills import kill_work


class Numbers:
    """Writes numbers to a file, one a line, and goes on behind those that are there."""

    def prepare(self, folder: Path) -> None:
        folder.mkdir(parents=True)

    def run(self, folder: Path) -> None:
        path = folder / "numbers.txt"
        path.touch()
        for number in range(self.first(path), 8):
            with path.open("a") as file:
                file.write(f"{number}\n")
            time.sleep(0.05)

    def first(self, path):
        return len(path.read_text().splitlines())

    def result(self, folder: Path) -> dict:
        return {"numbers": (folder / "numbers.txt").read_text()}


class Forgetful(Numbers):
    """Begins anew, but leaves what was there."""

    def first(self, path):
        return 0


@pytest.mark.timeout(300)
def test_what_goes_on_is_the_same_and_what_does_not_is_found(tmp_path):
    good, bad = (
        kill_work(work(), tmp_path / work.__name__, 3, seed=1) for work in (Numbers, Forgetful)
    )
    assert good.kills == bad.kills == 3 and good.different == []
    assert {what for _, what in bad.different} == {"numbers"}
    assert good.to_json()["works"] == good.works > 0 and len(good.moments) == 3


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", WORKS)
def test_killed_work_goes_on_to_the_same_result(tmp_path, name):
    done = kill_work(WORKS[name](), tmp_path / "works", 2, seed=3, minutes=2)
    assert done.works > 0 and done.different == []
