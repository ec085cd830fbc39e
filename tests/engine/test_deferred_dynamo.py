"""torchvision is imported without torch._dynamo, and nothing is missing afterwards."""

import json
import subprocess
import sys
from pathlib import Path

CODE = """
import json, sys
from bccd.counting.load import load_predictor
from bccd.engine.deferred_dynamo import import_torchvision
import_torchvision()
import bccd.counting.predictor
seen = [[name in sys.modules for name in ("torch._dynamo", "torch._dynamo.utils")]]
heavy = ("matplotlib", "scipy", "tensorboard", "pandas")
seen.append([name for name in heavy if name in sys.modules])
import torch, torchvision
from torchvision.ops import roi_align
module = sys.modules["torchvision.ops.roi_align"]
seen.append(module.is_compile_supported("cpu"))
seen.append(sys.modules["torch._dynamo.utils"].is_compile_supported("cpu"))
seen.append(torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item())
print(json.dumps(seen))
"""


def test_a_predictor_is_imported_without_it_and_it_works_when_wanted():
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
    )
    absent, heavy, first, second, compiled = json.loads(done.stdout)
    assert absent == [False, False] and heavy == []
    assert first == second and compiled == 2
