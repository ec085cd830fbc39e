import importlib.util
import io
import tarfile
from collections import defaultdict
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "install_detectron2.py"
SAMPLES = {
    r"Image\.LINEAR\b": "Image.LINEAR",
    r"import pkg_resources\n": "import pkg_resources\n",
    r"torch\.meshgrid\(shifts_y, shifts_x\)": "torch.meshgrid(shifts_y, shifts_x)",
    r"use_fast_impl=True,": "use_fast_impl=True,",
    r"from torch\.cuda\.amp import GradScaler\n": "from torch.cuda.amp import GradScaler\n",
    r" {8}from torch\.cuda\.amp import autocast\n": " " * 8
    + "from torch.cuda.amp import autocast\n",
    r"with autocast\(\):": "with autocast():",
    r"@torch\.jit\.script\n(?=class )": "@torch.jit.script\nclass Box:",
    r"\A(# Copyright.*\n)": "# Copyright\n",
    **{rf"\bnp\.{name}\b(?!_)": f"np.{name})" for name in ("bool", "int", "float", "str")},
}
PKG_RESOURCES_CALL = (
    "cfg_file = pkg_resources.resource_filename(\n"
    '        "detectron2.model_zoo", os.path.join("configs", config_path)\n    )\n'
)


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("install_detectron2", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(tool, tmp_path):
    """A tree in which every substitution finds exactly what it expects."""
    texts = defaultdict(str)
    for path, pattern, _, hits in tool.SUBSTITUTIONS:
        texts[path] += (SAMPLES.get(pattern, PKG_RESOURCES_CALL) + "\n") * hits
    for path, text in texts.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_substitutions_leave_nothing_that_today_s_libraries_lack(tool, package):
    tool.apply_substitutions(package)
    text = "".join(f.read_text() for f in package.rglob("*.py") if f.name != "_C.py")
    assert "Image.BILINEAR" in text and 'importlib.resources.files("detectron2.model_zoo")' in text
    for gone in (
        *("Image.LINEAR", "pkg_resources", "np.", "use_fast_impl=True"),
        *("cuda.amp", "@torch.jit.script", "with autocast"),
    ):
        assert gone not in text


def test_numpy_scalar_types_are_no_aliases(tool, package):
    file = package / "data/build.py"
    file.write_text(file.read_text() + "np.int_ np.int64 np.interp\n")
    tool.apply_substitutions(package)
    assert "np.int_ np.int64 np.interp" in file.read_text()


def test_an_unexpected_number_of_hits_is_an_error(tool, package):
    file = package / "structures/masks.py"
    file.write_text(file.read_text() + "np.bool\n")
    with pytest.raises(
        tool.InstallError, match=r"structures/masks.py.* matched 4 times, expected 3"
    ):
        tool.apply_substitutions(package)


def test_the_stub_names_the_missing_operator(tool, package):
    tool.apply_substitutions(package)
    stub = {}
    exec((package / "_C.py").read_text(), stub)
    with pytest.raises(AttributeError, match=r"_C\.deform_conv_forward.*Build Detectron2"):
        stub["__getattr__"]("deform_conv_forward")
    # What Detectron2's environment report asks for at the start of every run.
    assert stub["get_compiler_version"]() and stub["get_cuda_version"]() and not stub["has_cuda"]()


def test_a_changed_file_is_refused(tool, tmp_path, capsys):
    file = tmp_path / "pb1.tar.gz"
    file.write_bytes(b"not the file")
    assert tool.main(["--sdist", str(file), "--wheel-dir", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert str(file) in message and tool.SDIST_SHA256 in message


def test_unpack_takes_the_package_alone_and_never_leaves_the_folder(tool, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("x-0.6/detectron2/a.py", "x-0.6/setup.py", "x-0.6/detectron2/../../b.py"):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"1"))
    tool.unpack(buffer.getvalue(), tmp_path / "out")
    assert [f.relative_to(tmp_path).as_posix() for f in tmp_path.rglob("*.py")] == [
        "out/detectron2/a.py"
    ]


def test_a_usable_detectron2_is_left_alone(tool, capsys):
    assert tool.main([]) == 0
    assert "already installed: left as it is" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("version", "usable"),
    [
        *[("0.6", True), ("0.6+cu118", True), ("0.5", False), ("1.0", True)],
        ("0.6+nocompile.00000000", False),  # this script's own, with another table of changes
    ],
)
def test_versions(tool, version, usable):
    assert tool.is_usable(version) is usable
    assert tool.is_usable(tool.WHEEL_VERSION)
