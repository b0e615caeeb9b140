"""Two processes against one, as users start them: the same losses in each iteration, the same evaluation."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.engine import default_argument_parser

from icpc_d2.engine import setup
from tests.engine.parallel_run import LOSSES, run_all
from tests.support.logs import logs_restored
from tests.support.models import SEPARATE
from tests.support.programs import ROOT, run_program, run_ranks

OPTIONS = [
    *(*SEPARATE, "MODEL.WEIGHTS", ""),
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.CROP.SIZE", "(64,64)", "INPUT.MIN_SIZE_TEST", 64),
    *("SOLVER.IMS_PER_BATCH", 4, "SOLVER.MAX_ITER", 20, "SOLVER.BASE_LR", 1e-4, "SOLVER.WARMUP_ITERS", 2),
    *("DATALOADER.NUM_WORKERS", 0, "TEST.EVAL_PERIOD", 0, "TEST.SEM_SEG.NUM_PICTURES", 0, "SEED", 7),
]


def arguments(scenes: Path, output: Path, *options: object) -> list[str]:
    data = ["DATASETS.TRAIN", f"('folder:{scenes}/train',)", "DATASETS.TEST", f"('folder:{scenes}/val',)"]
    config = str(ROOT / "configs" / "quickstart" / "icpc_tiny.yaml")
    return ["--config-file", config, *map(str, [*OPTIONS, *data, "OUTPUT_DIR", output, *options])]


def run(program: list[str], **environment: str) -> str:
    """Run a program in the project's folder; return what it wrote."""
    run = run_program(program, **environment)
    assert run.returncode == 0, run.stdout[-12000:]
    return run.stdout


def facts(output: Path) -> dict[str, Any]:
    return json.loads((output / "facts.json").read_text())


@pytest.fixture(scope="module")
def one(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a single process, which is this one."""
    output = tmp_path_factory.mktemp("one")
    with logs_restored():
        run_all(setup(default_argument_parser().parse_args(arguments(scenes, output))))
    return output


@pytest.fixture(scope="module")
def two(scenes: Path, one: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes leave, started as by torchrun; they evaluate the weights of the single one."""
    output = tmp_path_factory.mktemp("two")
    words = ["python", "-m", "tests.engine.parallel_run", *arguments(scenes, output)]
    log = output / "said.txt"
    assert run_ranks([*words, "MODEL.WEIGHTS", str(one / "at_once.pth")], log) == 0, log.read_text()[-12000:]
    return facts(output)


def assert_same_losses(found: dict[str, list[float]], wanted: dict[str, list[float]]) -> None:
    for loss in LOSSES:
        np.testing.assert_allclose(found[loss], wanted[loss], rtol=0, atol=1e-5)


def test_a_batch_trains_alike_however_it_is_cut(one: Path, two: dict[str, Any]) -> None:
    wanted = facts(one)["at_once"]
    assert all(len(wanted[loss]) == 20 and np.ptp(wanted[loss]) > 0.01 for loss in LOSSES)
    assert_same_losses(facts(one)["accumulated"], wanted)
    assert_same_losses(two["at_once"], wanted)
    assert_same_losses(two["accumulated"], wanted)


def test_synchronized_batchnorm_sees_the_whole_batch(one: Path, two: dict[str, Any]) -> None:
    assert_same_losses(two["synchronized"], facts(one)["synchronized"])


def test_each_process_has_a_seed_of_its_own_and_looks_for_no_unused_parameters(two: dict[str, Any]) -> None:
    assert two["seeds"] == [7, 8]
    assert two["looks_for_unused"] is False


def test_two_processes_evaluate_as_one(one: Path, two: dict[str, Any]) -> None:
    assert two["evaluated"]["sem_seg"]["mIoU"] > 0
    found, wanted = two["evaluated"]["sem_seg"], facts(one)["evaluated"]["sem_seg"]
    # The sums are exact; the logits that they are of may be rounded differently with another number of threads.
    assert found.pop("loss") == pytest.approx(wanted.pop("loss"), rel=1e-5)
    assert found == wanted


SRUN = """#!/bin/bash
# As srun, on this machine alone.
[ "$1" == --kill-on-bad-exit=1 ] && shift
for rank in 0 1; do
    SLURM_PROCID=$rank SLURM_LOCALID=0 "$@" &
    tasks+=($!)
done
for task in "${tasks[@]}"; do wait "$task" || exit 1; done
"""


@pytest.mark.slow
def test_slurm_starts_two_machines(scenes: Path, tmp_path: Path) -> None:
    programs = {
        "srun": SRUN,
        "scontrol": '#!/bin/bash\nprintf "localhost\\nelsewhere\\n"\n',
        "python": f'#!/bin/bash\nexec {sys.executable} "$@"\n',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    options = arguments(scenes, tmp_path / "output", "SOLVER.MAX_ITER", 2)
    slurm = {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "here,there",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "1",
    }
    log = run(["docs/slurm_train.sh", *options], PATH=f"{tmp_path}:{os.environ['PATH']}", **slurm)
    assert "Rank of current process: 0. World size: 2" in log
    assert (tmp_path / "output" / "model_final.pth").exists()
