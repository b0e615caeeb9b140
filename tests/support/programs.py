"""Programs that tests start, as users do, or fork from their own process, where everything is imported already."""

import atexit
import logging
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import defaults

from icpc_d2.data import datasets
from tests.support.logs import logs_restored

ROOT = Path(__file__).parents[2]
TIMEOUT = 600  # seconds of a program


def run_program(words: Sequence[str], folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, on the CPU and with one thread.

    Returns:
        Its exit status, and in `stdout` all that it wrote to the terminal.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    always = {"PATH": path, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        words,
        cwd=folder,
        env=os.environ | always | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT,
        check=False,
    )


def run_forked(words: Sequence[str], folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python script.py ...`` or ``python -m module ...`` as :func:`run_program` does, without its imports."""
    import torch.utils.tensorboard  # noqa: F401  here, once for all that are forked

    with TemporaryDirectory() as temporary:
        log = Path(temporary, "log.txt")
        code = wait(fork(lambda: run_python(words[1:], folder, **environment), log))
        return subprocess.CompletedProcess(words, code, log.read_text())


def run_ranks(words: Sequence[str], log: Path, count: int = 2) -> int:
    """Run a program in the project's folder in forked processes of one run, as torchrun does; return the worst status.

    Args:
        words: as of :func:`run_forked`.
        log: file that the processes append their output to.
    """
    several = {"WORLD_SIZE": f"{count}", "LOCAL_WORLD_SIZE": f"{count}", "MASTER_ADDR": "127.0.0.1"}
    several["MASTER_PORT"] = str(free_port())
    processes = [
        fork(
            lambda own={"RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}: run_python(words[1:], ROOT, **several, **own), log
        )
        for rank in range(count)
    ]
    return max((wait(process) for process in processes), key=abs)


def free_port() -> int:
    """Return a port of this machine that nobody listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Forked:
    """A forked program with as much of `subprocess.Popen` as a study needs; its output must go to a file."""

    def __init__(self, words: Sequence[str], stdout: IO[str], stderr: int, env: dict[str, str]) -> None:
        folder = Path.cwd()
        self.returncode: int | None = None
        self._id = fork(lambda: run_python(words[1:], folder, **env), Path(stdout.name))

    def poll(self) -> int | None:
        """Return the exit code of a program that has ended."""
        if self.returncode is None:
            found, status = os.waitpid(self._id, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if found else None
        return self.returncode


def run_python(words: Sequence[str], folder: Path, **environment: str) -> None:
    """Run ``script.py ...`` or ``-m module ...`` as the program of this process, which :func:`fork` has made."""
    os.chdir(folder)
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", **environment}
    defaults.collect_env_info = lambda: ""  # it starts compilers to ask for their versions
    if "DETECTRON2_DATASETS" in environment:
        for name in {row.name.format(split) for row in datasets.DATASETS for split in row.splits}:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
        datasets.register_all(datasets.datasets_root())
    sys.path.insert(0, str(folder))
    if words[0] == "-m":
        sys.argv = list(words[1:])
        sys.modules.pop(words[1], None)  # Python warns of modules that are run when they are there already
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(words)
        runpy.run_path(words[0], run_name="__main__")


def fork(run: Callable[[], object], log: Path) -> int:
    """Run in a process of its own, whose output is appended to `log`; return its id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        atexit._clear()  # what belongs to the parent
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout = sys.stderr = os.fdopen(descriptor, "w", buffering=1)
        with logs_restored():
            pass
        run()
        code = 0
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)


def _exit_code(end: SystemExit) -> int:
    if isinstance(end.code, str):
        print(end.code, file=sys.stderr)
    return end.code if isinstance(end.code, int) else int(end.code is not None)


def wait(process: int, timeout: float = TIMEOUT) -> int:
    """Return the exit code of a forked process, or minus the number of the signal that has killed it.

    Raises:
        TimeoutError: it takes longer; it is killed.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    raise TimeoutError(f"a run hung for {timeout} seconds")
