"""A ``python`` that has loaded PyTorch already, for tests of commands. Not a test itself.

Loading PyTorch and Detectron2 takes seconds, and the suite starts two hundred processes. A server
loads the libraries once, though nothing of this project. ``WarmPython.executable`` takes the
arguments of ``python``, hands them with its open files to the server, which forks a process for
them, and ends as that process ends. What this one starts in turn, as ``sys.executable``, as
``python`` or by ``multiprocessing``, is forked, too. All compute with one thread, without a GPU.
"""

import array
import atexit
import contextlib
import fcntl
import json
import multiprocessing
import os
import runpy
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
import warnings
from pathlib import Path

LIBRARIES = ("cv2", "detectron2.engine", "detectron2.evaluation", "detectron2.model_zoo", "hotcoco")
LIBRARIES += ("matplotlib.pyplot", "onnx", "onnxruntime", "scipy.optimize", "tabulate", "torch")
LIBRARIES += ("torch.distributed.run", "torch.utils.tensorboard", "torchvision")
MAX_FILES = 200
CLIENT = """#!{python} -IS
import array, json, os, signal, socket, sys

files = [int(name) for name in os.listdir("/dev/fd")]
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
for file in files[:]:
    try:
        os.fstat(file)
    except OSError:  # was the folder /dev/fd
        files.remove(file)
files = [file for file in files if file != server.fileno()]
request = {{
    "arguments": sys.argv[1:],
    "folder": os.getcwd(),
    "environment": dict(os.environ),
    "files": files,
}}
message = json.dumps(request).encode()
rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))
server.sendmsg([len(message).to_bytes(8, "big")], [rights])
server.sendall(message)
signal.signal(signal.SIGTERM, lambda *_: server.sendall(b"t"))
status = int(server.makefile("r").readline() or 1)
if status < 0:
    if status != -signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


class WarmPython:
    """The server, while this context is open; elsewhere than on Linux this Python itself.

    Attributes:
        folder (str): holds the executable ``python``, for PATH.
        executable (str): it.
    """

    def __enter__(self):
        self._server = None
        if sys.platform != "linux":  # a fork of what has loaded a Mac's frameworks may die
            self.executable, self.folder = sys.executable, str(Path(sys.executable).parent)
            return self
        self._folder = tempfile.TemporaryDirectory(prefix="warm")  # short, as a socket's path is
        self.folder = self._folder.name
        self.executable, address = str(Path(self.folder, "python")), Path(self.folder, "socket")
        file = Path(self.executable)
        file.write_text(CLIENT.format(python=sys.executable, address=str(address)))
        file.chmod(0o755)
        # The number of threads is read when PyTorch is loaded.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, __file__, self.executable, str(address)]
        self._server = subprocess.Popen(command, env=environment, start_new_session=True)
        while not address.exists():
            if self._server.poll() is not None:
                raise RuntimeError("the server of WarmPython did not start")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        if self._server is None:
            return
        os.killpg(self._server.pid, signal.SIGKILL)  # and what it has forked
        self._server.wait()
        self._folder.cleanup()


class Handler(socketserver.StreamRequestHandler):
    """Runs one command; this process was forked for it, and forks the one that becomes it."""

    def handle(self):
        """Tell the client the status in the end."""
        size = socket.CMSG_SPACE(MAX_FILES * array.array("i").itemsize)
        length, rights, _, _ = self.request.recvmsg(8, size)
        files = array.array("i")
        files.frombytes(rights[0][2])
        request = json.loads(self.rfile.read(int.from_bytes(length, "big")))
        child = os.fork()
        if child == 0:
            _become(request, files, self.server.executable)
        for file in files:
            os.close(file)
        threading.Thread(target=self._pass_on_signals, args=(child,), daemon=True).start()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with contextlib.suppress(BrokenPipeError):  # the client was killed
            self.wfile.write(f"{status}\n".encode())

    def _pass_on_signals(self, child):
        # The client sends a byte when it is told to end, and nothing when it was killed.
        number = signal.SIGTERM if self.request.recv(1) else signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):  # both have ended
            os.kill(child, number)


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Forks a process for each command."""

    max_children = 100
    block_on_close = False

    def service_actions(self):
        """End with all that was forked when the tests were killed."""
        super().service_actions()
        if os.getppid() != self.parent:
            os.killpg(0, signal.SIGKILL)


def _become(request, files, executable):
    """Do what ``python`` does with the arguments, then end this process."""
    status = 1
    try:
        _take_files(files, request["files"])
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.executable = executable
        multiprocessing.set_executable(executable)
        _run(request["arguments"])
        status = 0
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # nobody reads any more
                stream.flush()
        os._exit(status)


def _take_files(files, numbers):
    """Open files by the numbers that they have in the client, and no others."""
    above = max(*numbers, 100) + 1
    moved = [fcntl.fcntl(file, fcntl.F_DUPFD, above) for file in files]
    os.closerange(3, above)
    for file, number in zip(moved, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


def _run(arguments):
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[0:0] = [path for path in paths if path]
    while arguments[0].startswith("-") and arguments[0] not in ("-m", "-c"):  # -u, -B, -X dev
        arguments = arguments[2 if arguments[0] in ("-X", "-W") else 1 :]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(arguments[1], vars(sys.modules["__main__"]))
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        runpy.run_path(arguments[0], run_name="__main__")


def main():
    """Load the libraries, then serve; the arguments are the executable and the socket."""
    parent = os.getppid()
    sys.path.pop(0)  # this folder
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        for name in LIBRARIES:
            __import__(name)
    _, executable, address = sys.argv
    with Server(address, Handler) as server:
        server.executable, server.parent = executable, parent
        server.serve_forever()


if __name__ == "__main__":
    main()
