"""Installation as `make` does it, on a tiny project and with the package index switched off."""

import base64
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:9/"  # nothing listens there
# Stands in for the real script, which has its own tests: it keeps the file and checks that it came.
DETECTRON2 = """
import os, pathlib, sys
option, path = sys.argv[1], pathlib.Path(sys.argv[2])
if option == "--download":
    (path / "pb1-detectron2-0.6.tar.gz").write_text("detectron2")
else:
    assert option == "--sdist" and path.read_text() == "detectron2"
"""
BACKEND = """
import glob, os, shutil

def build_editable(folder, *_):
    return os.path.basename(shutil.copy(glob.glob("project-*.whl")[0], folder))
"""


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("install", ROOT / "tools/install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_wheel(folder, name):
    """A wheel with one empty module; returns its path."""
    info = f"{name}-1.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{info}/RECORD,,\n"]
    for file, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        lines.append(f"{file},sha256={digest.decode()},{len(text)}\n")
    path = folder / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in [*files.items(), (f"{info}/RECORD", "".join(lines))]:
            wheel.writestr(file, text)
    return path


@pytest.fixture
def project(tmp_path):
    """A project with the real Makefile and tools/install.py, and an index that holds its lock."""
    root, index = tmp_path / "my project", tmp_path / "index"
    (root / "tools").mkdir(parents=True)
    index.mkdir()
    shutil.copy(ROOT / "Makefile", root)
    shutil.copy(ROOT / "tools/install.py", root / "tools")
    (root / "tools/install_detectron2.py").write_text(DETECTRON2)
    (root / "setup.py").write_text("")
    (root / "backend.py").write_text(BACKEND)
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "project"\nversion = "1"\n'
    )
    write_wheel(root, "project")
    lock = ""
    for name in ("leaf", "twig"):
        digest = hashlib.sha256(write_wheel(index, name).read_bytes()).hexdigest()
        lock += f"{name}==1 --hash=sha256:{digest}\n"
    (root / "requirements.lock").write_text(lock)
    return root


def run_make(root, *arguments, **variables):
    """`make` without any network; returns its status and all that it printed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE", "MFLAGS"))}
    nowhere = {
        **dict.fromkeys(("http_proxy", "https_proxy", "PIP_INDEX_URL"), NOWHERE),
        **{"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0"},
    }
    done = subprocess.run(
        ["make", *arguments],
        cwd=root,
        env={**kept, **nowhere, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def test_wheels_of_one_computer_install_on_another_without_an_index(project):
    python = f"PYTHON={sys.executable}"
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(project.parent / "index")}
    status, printed = run_make(project, "wheels", "DIR=../all wheels", python, **index)
    assert status == 0, printed
    shutil.rmtree(project.parent / "index")
    collected = project.parent / "all wheels"
    assert "leaf-1-py3-none-any.whl" in {file.name for file in collected.iterdir()}

    # Hashes are checked, and an installation that failed is not taken for one.
    leaf = collected / "leaf-1-py3-none-any.whl"
    good = leaf.read_bytes()
    leaf.write_bytes(good + b"\0")
    install = ("install", "WHEELS=../all wheels")
    status, printed = run_make(project, *install, python)
    assert status != 0 and "DO NOT MATCH" in printed and "goes on from here" in printed
    assert not (project / ".venv/.ready").exists()

    leaf.write_bytes(good)
    status, printed = run_make(project, *install)  # .venv's own Python goes on
    assert status == 0, printed
    code = "import leaf, twig, project"
    assert subprocess.run([project / ".venv/bin/python", "-c", code]).returncode == 0
    assert run_make(project, *install) == (0, "")  # nothing to do

    moved = project.rename(project.parent / "moved")
    status, printed = run_make(moved, "install")
    assert status != 0 and f"was made as {project / '.venv'} and works only there" in printed


def test_a_folder_that_was_not_collected_for_this_computer_and_lock_is_refused(tool, project):
    folder = project / "wheels"
    folder.mkdir()
    with pytest.raises(tool.InstallError, match=r"no folder that `make wheels` has filled"):
        tool.install(project, folder)
    about = {"computer": tool._computer(), "lock": "of another checkout"}
    (folder / "collected.json").write_text(json.dumps(about))
    with pytest.raises(tool.InstallError, match=r"another requirements\.lock"):
        tool.install(project, folder)
    (folder / "collected.json").write_text(json.dumps({**about, "computer": "Python 3.1 on Amiga"}))
    with pytest.raises(tool.InstallError, match=r"Python 3\.1 on Amiga, and this is Python 3\."):
        tool.install(project, folder)
    assert not (project / ".venv").exists()


def fake_venv(root, python, place=None):
    """A .venv whose Python is this shell script."""
    (root / ".venv/bin").mkdir(parents=True)
    (root / ".venv/bin/activate").write_text(f'VIRTUAL_ENV="{place or root / ".venv"}"\n')
    (root / ".venv/bin/python").write_text(f"#!/bin/sh\n{python}\n")
    (root / ".venv/bin/python").chmod(0o755)


def test_a_changed_input_installs_again_and_a_failure_is_not_taken_for_done(
    tool, project, monkeypatch
):
    fake_venv(project, f"echo {tool._version()}")
    commands = []
    monkeypatch.setattr(tool, "_run", lambda command, *_: commands.append(command[1:]))
    assert tool.install(project) and not tool.install(project)
    assert [c for c in commands if "requirements.lock" in c and "--require-hashes" in c]
    for name in tool.INPUTS:
        (project / name).write_text("changed")
        assert tool.install(project) and not tool.install(project)

    def fail(*_):
        raise tool.InstallError("pip failed")

    monkeypatch.setattr(tool, "_run", fail)
    (project / "requirements.lock").write_text("changed again")
    for _ in range(2):
        with pytest.raises(tool.InstallError, match="pip failed"):
            tool.install(project)


def test_a_venv_of_another_python_is_refused(tool, project):
    fake_venv(project, "echo 3.9")
    with pytest.raises(tool.InstallError, match=r"holds Python 3\.9.*leave PYTHON out.*rm -rf"):
        tool.install(project)


def test_a_venv_whose_python_is_gone_is_refused(tool, project):
    fake_venv(project, "exit 1")
    with pytest.raises(tool.InstallError, match=r"Python does not start.*rm -rf"):
        tool.install(project)
    (project / ".venv/bin/python").unlink()
    with pytest.raises(tool.InstallError, match=r"Python does not start.*rm -rf"):
        tool.install(project)


@pytest.mark.parametrize("version", [(3, 9), (3, 15)])
def test_a_python_that_is_not_supported_is_named(project, version):
    python = project / "python"
    code = f"import sys; sys.version_info = {version}; exec(sys.argv[1])"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$2"\n')
    python.chmod(0o755)
    status, printed = run_make(project, "install", "PYTHON=./python")
    assert status != 0
    assert f"Python 3.10 to 3.14 is needed and ./python is {version[0]}.{version[1]}" in printed
