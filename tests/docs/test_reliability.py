"""docs/reliability.md: its long runs in short; that of kill.py is in tests/faults/test_stop_and_go.py."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.datasets import save_folder_dataset
from tests.support.documents import ROOT, SMALL, commands_of, settings
from tests.support.programs import run_forked


def run_here(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``PYTHONPATH=. python ...`` in a forked process."""
    return run_forked(shlex.split(command)[1:], folder)


@pytest.mark.slow
def test_fuzz_and_memory(clone: Path) -> None:
    for name in ("icpc_d2", "tests"):
        (clone / name).symlink_to(ROOT / name)
    _, fuzz, memory = commands_of("docs/reliability.md")
    done = run_here(fuzz.replace("10000", "30"), clone)
    assert done.returncode == 0, done.stdout

    save_folder_dataset(clone / "mine")
    (clone / "mine/classes.txt").write_text("sky\nroad\ntree\n")
    data = settings(DATASETS__TRAIN='("folder:mine/train",)', DATASETS__TEST='("folder:mine/val",)')
    endless = settings(SOLVER__MAX_ITER=10**7, SOLVER__CHECKPOINT_PERIOD=10**7)
    done = run_here(f"{memory.replace('45', '0.2')} {shlex.join([*SMALL, *data, *endless])}", clone)
    found = json.loads((clone / "memory.json").read_text())
    assert found["exit_code"] == 143, done.stdout
    assert found["rss_end"] > 100 and max(found["images_per_second"]) > 0
    # In so short a run memory may still grow, which the exit status says.
    assert done.returncode == int(not found["is_flat"])
