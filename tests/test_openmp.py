"""The bound on busy waiting is set before PyTorch is loaded, whichever command is started."""

import json
import os
import subprocess
import sys
from pathlib import Path

from bccd.openmp import SPIN_COUNT, bound_busy_waiting

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = [
    file.relative_to(ROOT).as_posix()
    for folder in ("", "tools", "datasets")
    for file in sorted((ROOT / folder).glob("*.py"))
    if file.name != "setup.py"
]
# Runs the commands' imports one after another; an import of PyTorch ends each, and is noted.
NOTE_WHEN_TORCH_IS_LOADED = """
import importlib.abc, json, os, runpy, sys

class Loads(Exception):
    pass

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise Loads

sys.meta_path.insert(0, Watch())
found = {}
for command in sys.argv[1:]:
    os.environ.pop("GOMP_SPINCOUNT", None)
    for name in [name for name in sys.modules if name.split(".")[0] == "bccd"]:
        del sys.modules[name]
    try:
        runpy.run_path(command, run_name="imported")
    except Loads:
        found[command] = os.environ.get("GOMP_SPINCOUNT")
print(json.dumps(found))
"""


def without_openmp_settings():
    return {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}


def test_every_command_sets_it_before_it_loads_pytorch():
    done = subprocess.run(
        [sys.executable, "-c", NOTE_WHEN_TORCH_IS_LOADED, *COMMANDS],
        cwd=ROOT,
        env={**without_openmp_settings(), "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    assert {"train_net.py", "tools/benchmark.py", "tools/visualize_data.py"} <= set(found)
    assert found == dict.fromkeys(found, SPIN_COUNT)


@pytest.mark.parametrize("own", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "PASSIVE"}])
def test_what_the_user_has_set_stays(own):
    environment = dict(own)
    bound_busy_waiting(environment)
    assert environment == own


SHOW = """
import bccd.openmp
import torch

print(*{line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line})
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells its libraries")
def test_the_library_that_pytorch_loads_reads_it():
    environment = {**without_openmp_settings(), "OMP_DISPLAY_ENV": "verbose"}
    command = [sys.executable, "-c", SHOW]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if not done.stdout.split():
        pytest.skip("this PyTorch uses another OpenMP than GNU's")
    shown = [line for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    assert len(shown) == len(done.stdout.split()), done.stderr
    assert all(SPIN_COUNT in line for line in shown)
