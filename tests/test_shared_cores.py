import sys
import types

import pytest

from bccd import shared_cores
from bccd.shared_cores import SharedCores, threads_beside


@pytest.mark.parametrize(
    ("others", "cores", "most", "expected"),
    [
        (0.1, 2, 2, 2),
        (1.0, 2, 2, 1),
        (2.0, 2, 2, 1),
        (2.2, 8, 8, 6),
        (64.0, 64, 64, 32),  # a fair share of as many programs as cores
        (2.0, 4, 2, 2),  # a second process of ours, with the other half of the cores
        (4.0, 4, 1, 1),
    ],
)
def test_threads_are_the_cores_that_others_leave(others, cores, most, expected):
    assert threads_beside(others, cores, most) == expected


class Machine:
    """A clock, and two cores that this process and others have used so far."""

    def __init__(self, monkeypatch):
        self.now, self.busy, self.own, self.threads = 0.0, 0.0, 0.0, 2
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(shared_cores.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(shared_cores, "available_cores", lambda: 2)
        torch = types.SimpleNamespace(
            get_num_threads=lambda: self.threads, set_num_threads=self.set
        )
        monkeypatch.setitem(sys.modules, "torch", torch)

    def set(self, threads):
        self.threads = threads

    def usage(self):
        return self.busy, self.own

    def run(self, seconds, own, others):
        self.now += seconds
        self.own += own * seconds
        self.busy += (own + others) * seconds


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def test_threads_follow_what_the_others_do(machine):
    cores = SharedCores(machine.usage)
    seen = []
    for own, others in [(2, 0), (1, 1), (0.7, 1.3), (1, 0), (2, 0)]:
        machine.run(1.5, own, others)
        cores.adapt()
        seen.append(machine.threads)
    assert seen == [2, 1, 1, 2, 2]


def test_a_look_is_rare(machine):
    cores = SharedCores(machine.usage)
    machine.run(0.2, 1, 1)
    cores.adapt()
    assert machine.threads == 2


def test_a_number_that_somebody_else_sets_is_the_new_most(machine):
    cores = SharedCores(machine.usage)
    machine.threads = 1
    machine.run(1.5, 1, 0)
    cores.adapt()
    assert machine.threads == 1


def test_a_number_of_the_user_stays(machine, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    cores = SharedCores(machine.usage)
    machine.run(1.5, 1, 1)
    cores.adapt()
    assert machine.threads == 2


def test_a_system_that_does_not_tell_keeps_its_threads(machine):
    def usage():
        raise FileNotFoundError("/proc/stat")

    cores = SharedCores(usage)
    machine.run(1.5, 1, 1)
    cores.adapt()
    assert machine.threads == 2


def test_the_use_of_the_cores_is_read():
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc/stat")
    busy, own = shared_cores._usage()
    sum(range(10**7))
    later, own_later = shared_cores._usage()
    assert later >= busy > 0 and own_later > own > 0
