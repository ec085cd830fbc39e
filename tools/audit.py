#!/usr/bin/env python3
"""Ask whether a vulnerability is known of any package in requirements.lock.

    pip install pip-audit
    python tools/audit.py        # make audit

pip-audit asks PyPI by names and versions as they are pinned; nothing is installed. A package of
which nothing could be learnt is no package without faults: where that is so of all, as without a
network or with a mirror of PyPI, the audit is left out with a sentence and exit status 0 (with
--required 2). Exit status 1: a vulnerability is known, and is printed.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from bccd.console import script

ROOT = Path(__file__).resolve().parents[1]
_SECONDS = "30"  # of waiting for an answer


@script
def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements.lock")
    parser.add_argument("--required", action="store_true", help="status 2 where it is left out")
    args = parser.parse_args(argv)
    if not args.lock.is_file():
        raise ValueError(f"{args.lock} does not exist: make lock writes it")
    left_out = 2 if args.required else 0
    if importlib.util.find_spec("pip_audit") is None:
        print("The audit is left out: pip-audit is not installed (pip install pip-audit)")
        return left_out
    packages = ask(args.lock)
    asked = [package for package in packages if "skip_reason" not in package]
    if not asked:
        print("The audit is left out: the service that knows vulnerabilities does not answer here")
        return left_out
    for package in packages:
        if "skip_reason" in package:
            print(f"{package['name']} is not audited: {package['skip_reason']}")
    faults = [(p, fault) for p in asked for fault in p["vulns"]]
    for package, fault in faults:
        fixed = ", ".join(fault["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {fault['id']}, mended in {fixed}")
    print(f"{len(asked)} of {len(packages)} packages are audited, {len(faults)} vulnerabilities")
    return 1 if faults else 0


def ask(lock: Path) -> list[dict]:
    """What pip-audit says of each package; empty: it could not ask."""
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), *options]
    done = subprocess.run([*command, "--timeout", _SECONDS], capture_output=True, text=True)
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):  # it ended with the error of a connection
        return []


if __name__ == "__main__":
    sys.exit(main())
