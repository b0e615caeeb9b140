"""What an output folder tells about where its figures come from."""

import json
import subprocess
import sys
from pathlib import Path

import torch

import icpc_d2
from icpc_d2.config.load import load_config
from icpc_d2.engine.run_folder.provenance import describe_git, read_starts
from tests.support.training import make_trainer


def test_the_output_folder_says_what_made_it(undisturbed: Path) -> None:
    (start,) = read_starts(undisturbed)
    assert start["command"] == sys.argv
    assert start["seed"] == 0
    assert start["packages"]["torch"] == torch.__version__
    assert {"python", "detectron2", "torch", "open_clip_torch", "numpy"} <= start["packages"].keys()
    assert start["hardware"]["cores"] >= 1
    assert start["hardware"]["memory_gib"] > 0
    assert start["hardware"]["device"] == "cpu"
    cfg = load_config(str(undisturbed / start["config"]))
    assert cfg.SOLVER.MAX_ITER == 8
    assert len(cfg.MODEL.CLASS_NAMES) == cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 3


def test_results_carry_it_beside_the_figures(undisturbed: Path) -> None:
    results = json.loads((undisturbed / "results.json").read_text())
    (start,) = read_starts(undisturbed)
    found = results.pop("provenance")
    assert {key: found[key] for key in found if key != "time"} == {key: start[key] for key in start if key != "time"}
    assert {"mIoU", "IoU-class 0", "pACC"} <= results.keys()
    assert all(isinstance(value, float | None) for value in results.values())


def test_every_start_is_remembered(data: Path, tmp_path: Path) -> None:
    for count in (1, 2):
        make_trainer(data, tmp_path)
        assert len(read_starts(tmp_path)) == count
    (tmp_path / "provenance.json").write_text('[{"seed": 0')
    make_trainer(data, tmp_path)
    assert len(read_starts(tmp_path)) == 1, "a damaged file is begun anew"


def test_the_commit_is_named_with_changes(tmp_path: Path) -> None:
    assert describe_git(tmp_path) is None
    package = tmp_path / "clone" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()

    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        run = subprocess.run(["git", "-C", tmp_path / "clone", *identity, *words], check=True, capture_output=True)
        return run.stdout.decode().strip()

    git("init")
    assert describe_git(package) is None, "a package that lies in a clone of something else"
    git("add", ".")
    git("commit", "-m", "first")
    assert describe_git(package) == {"commit": git("rev-parse", "HEAD"), "changed": False}
    (package / "__init__.py").write_text("changed = True\n")
    assert describe_git(package) == {"commit": git("rev-parse", "HEAD"), "changed": True}


def test_this_code_is_described_by_the_clone_that_holds_it() -> None:
    package = Path(icpc_d2.__file__).parent
    log = ["git", "-C", package, "log", "-1", "--format=%H"]
    # Of the last commit at all where one of the package's files is in the clone; nothing where it is not.
    is_tracked = subprocess.run([*log, "--", "__init__.py"], capture_output=True, text=True).stdout
    commit = subprocess.run(log, capture_output=True, text=True).stdout.strip()
    found = describe_git(package)
    assert (found and found["commit"]) == (commit if is_tracked else None)
