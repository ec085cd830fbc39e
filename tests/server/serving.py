"""A server of ``bccd serve`` in a process of its own, for tests and pictures of the page."""

import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE = 120  # seconds, on a machine that does much else


class Server:
    """``bccd serve`` on a free port; a context manager.

    Attributes:
        url: of the page, without a slash at its end.
        process: of the server.
    """

    def __init__(self, study: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "bccd", "serve", *arguments, "--study", str(study)]
        command += ["--port", "0", "--no-browser", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        text = ""
        for line in self.process.stdout:
            text += line
            if line.startswith("}"):
                break
        self.address = json.loads(text)["address"]
        self.url = self.address.split("/?")[0].rstrip("/")

    def __enter__(self) -> "Server":
        with contextlib.suppress(urllib.error.HTTPError):  # 401: it is there, and wants a token
            self.wait_for("/", lambda _: True)
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self, kill: bool = False) -> int:
        """End it; returns its exit status."""
        if self.process.poll() is None:
            (self.process.kill if kill else self.process.terminate)()
        self.process.wait(timeout=PATIENCE)
        self.process.stdout.close()
        return self.process.returncode

    def get(self, path: str, **headers: str) -> bytes:
        """What a path answers."""
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read()

    def json(self, path: str):
        """What a path answers, as JSON."""
        return json.loads(self.get(path))

    def post(self, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict]:
        """Status and JSON of a request from a page of the server."""
        own = {"Origin": self.url, "Content-Type": "application/json", **headers}
        request = urllib.request.Request(self.url + path, body, own, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def wait_for(self, path: str, is_reached) -> None:
        """Ask until the answer is as wanted."""
        end = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, "the server has ended"
            try:
                if is_reached(self.get(path)):
                    return
            except urllib.error.HTTPError:
                raise
            except urllib.error.URLError:
                pass
            assert time.monotonic() < end, f"{path} never answered as expected"
            time.sleep(0.2)

    def wait_until_counted(self, number: int) -> None:
        """Wait until so many fields are counted."""

        def is_done(content):
            rows = json.loads(content)["rows"]
            failed = [row for row in rows if row["status"] == "failed"]
            assert not failed, failed
            return sum(row["status"] == "counted" for row in rows) >= number

        self.wait_for("/api/fields", is_done)
