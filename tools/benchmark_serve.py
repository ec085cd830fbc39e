#!/usr/bin/env python3
"""How fast the page of ``bccd serve`` answers: a large study, many readers, while it counts.

    python tools/benchmark_serve.py --output results/performance/serve.json

A study of many fields is made of one smear and served; then readers ask at once for what a page
asks for, while the study counts.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
from sqlalchemy import select

from bccd.data.synthetic import draw_smear
from bccd.evaluation.machine import describe_measurement
from bccd.study import Study, tables

PATHS = ("/", "/fields/1", "/api/fields/1", "/api/change", "/api/jobs", "/api/fields/1/thumbnail")
ALL_FIELDS = "/api/fields"  # what the gallery opens with


def make_study(folder: Path, fields: int, to_count: int) -> None:
    """A study of ``fields`` counted fields, and ``to_count`` that wait for it, of one image."""
    images = folder / "smears"
    images.mkdir()
    cv2.imwrite(str(images / "smear.png"), draw_smear(1)[0])
    with Study.open(folder / "study", create=True) as study:
        study.allow_folder(images)
        study.add([images], "benchmark")
        with study.database.write() as connection:
            row = dict(connection.execute(select(tables.fields)).one()._mapping)
            del row["id"]
            known = {"RBC": 20, "WBC": 1, "Platelets": 3}
            counted = row | {"status": "counted", "counts": known, "model_counts": known}
            counted |= {"counted_with": study.settings().of_detections}
            many = [counted | {"name": f"field_{k:05d}.png"} for k in range(fields - 1)]
            waiting = [row | {"name": f"new_{k:05d}.png"} for k in range(to_count)]
            connection.execute(tables.fields.insert(), many)
            connection.execute(tables.fields.insert(), waiting)
        study.count("benchmark")


def ask(url: str) -> float:
    """Seconds until an answer has arrived."""
    start = time.perf_counter()
    with urllib.request.urlopen(url, timeout=120) as answer:
        answer.read()
    return time.perf_counter() - start


def measure(url: str, readers: int, rounds: int) -> dict:
    """Milliseconds of each path, of one reader and of ``readers`` at once."""
    found = {}
    for path in (*PATHS, ALL_FIELDS):
        ask(url + path)
        alone = [1000 * ask(url + path) for _ in range(rounds)]
        found[path] = {"alone_ms": round(statistics.median(alone), 1)}
    with ThreadPoolExecutor(readers) as pool:
        asked = [path for _ in range(rounds) for path in PATHS for _ in range(readers)]
        times = list(pool.map(lambda path: (path, 1000 * ask(url + path)), asked))
    for path in PATHS:
        of_path = sorted(ms for other, ms in times if other == path)
        found[path]["together_ms"] = round(statistics.median(of_path), 1)
        found[path]["together_p95_ms"] = round(of_path[int(0.95 * (len(of_path) - 1))], 1)
    return found


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fields", type=int, default=5000)
    parser.add_argument("--to-count", type=int, default=500, help="fields counted meanwhile")
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="a JSON file")
    args = parser.parse_args(argv)
    measurement = describe_measurement()
    with tempfile.TemporaryDirectory() as name:
        make_study(Path(name), args.fields, args.to_count)
        command = [sys.executable, "-m", "bccd", "serve", f"{name}/study", "--port", "0"]
        with subprocess.Popen(
            [*command, "--no-browser"], stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                url = next(
                    match[0].rstrip("/")
                    for line in server.stdout
                    if (match := re.search(r"http://\S+", line))
                )
                wait_for(url)
                found = measure(url, args.readers, args.rounds)
            finally:
                server.terminate()
    document = {
        **measurement,
        "fields": args.fields,
        "readers": args.readers,
        "counting": True,
        "paths": found,
    }
    print(json.dumps(document, indent=2))
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(document, indent=2) + "\n")


def wait_for(url: str) -> None:
    """Wait until the server answers."""
    for _ in range(600):
        try:
            ask(url)
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"benchmark_serve: {url} does not answer")


if __name__ == "__main__":
    main()
