import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import torch
from bccd.engine.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24).sum()  # 64 MiB: 16,384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
keep_freed_memory()
# A hole is used again once it has room for the alignment too: after the third or fourth as a rule.
print(before, min(faults() for _ in range(16)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_a_large_tensor_takes_the_memory_of_the_one_before_it():
    output = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True)
    before, after = map(int, output.stdout.split())
    assert after < before / 10
