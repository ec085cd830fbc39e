import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools/reproduce.sh"


@pytest.mark.parametrize("row", ["ssd_lite_tta", "sparse_rcnn_lite_vok", "ssd_lte", ""])
def test_another_row_is_refused_before_python_starts(tmp_path, row):
    (tmp_path / "tools").mkdir()
    shutil.copy(SCRIPT, tmp_path / "tools")  # which goes to the folder above its own
    (tmp_path / "python").write_text("#!/bin/sh\ntouch started\n")
    (tmp_path / "python").chmod(0o755)
    done = subprocess.run(
        ["bash", str(tmp_path / "tools/reproduce.sh"), *([row] if row else [])],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and not (tmp_path / "started").exists()
    assert f"no row '{row}'" in done.stderr
    for known in ("ssd_lite", "ssd_lite_voc", "sparse_rcnn_lite_voc", "sparse_rcnn_r50", "ssd512"):
        assert f" {known} " in done.stderr
