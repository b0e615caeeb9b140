"""Running what the documents say: their commands in this process, with their settings made small."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from detectron2.engine import defaults

import icpc_cli
from tests.support.programs import ROOT, run_program

PROGRAMS = ("icpc ", "python ", "torchrun ", "sbatch ", "tensorboard ", "make ")
# What stands for something else: such lines show the form of a command.
_BLANKS = re.compile(r"\.\.\.|<\w+>|\b(KIND|CONFIG|NAME|KEY VALUE)\b")
_SET_UP = re.compile(r"^make |^git clone|^python -m pip install |^python icpc_d2/install_detectron2.py")


def documents() -> list[str]:
    """Paths of all documents from the project's folder."""
    folders = [ROOT / name for name in ("docs", "configs", "icpc_d2")]
    found = [*ROOT.glob("*.md"), *(path for folder in folders for path in folder.rglob("*.md"))]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def read(document: str) -> str:
    return (ROOT / document).read_text()


def set_up_of(document: str) -> list[str]:
    """The commands of a document that install, or are targets of make."""
    return [command for command in _all_commands(document) if _SET_UP.match(command)]


def commands_of(document: str) -> list[str]:
    """All other commands: lines of ```bash blocks, then those that stand in a sentence or a table."""
    return [command for command in _all_commands(document) if not _SET_UP.match(command)]


def _all_commands(document: str) -> list[str]:
    text = read(document).replace("\\\n", " ")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]
    sentences = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    phrases = [phrase for phrase in re.findall(r"`([^`\n]+)`", sentences) if phrase.startswith(PROGRAMS)]
    return [*lines, *(phrase for phrase in phrases if not _BLANKS.search(phrase))]


def forms_of(document: str) -> list[str]:
    """The lines that look like commands in blocks which are not marked as such."""
    blocks = re.findall(r"^```\n(.*?)^```", read(document), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.startswith(PROGRAMS)]


def is_form(command: str) -> bool:
    """Whether a command has blanks to fill in."""
    return bool(_BLANKS.search(command))


def snippet(text: str, name: str) -> str:
    """The block after ``<!-- tested: name -->``."""
    return re.search(f"<!-- tested: {re.escape(name)} -->\n```\\w*\n(.*?)```", text, re.DOTALL)[1]


def run(command: str, monkeypatch: pytest.MonkeyPatch, added: Sequence[str] = ()) -> None:
    """Run ``icpc ...``, ``python script.py ...``, ``python -m module ...`` or ``python -c code`` here.

    So PyTorch is loaded only once.

    Args:
        added: further arguments.

    Raises:
        AssertionError: it ends with another status than 0.
    """
    words = shlex.split(command, comments=True)
    if words[0] == "tensorboard":  # a server without an end: it is enough that it finds something
        assert list(Path(words[-1]).rglob("events.out.tfevents.*"))
        return
    if words[0] == "icpc":
        assert not icpc_cli.main([*words[1:], *added]), command
        return
    assert words[0] == "python", f"not known how to test: {command}"
    if words[1] == "-c":
        exec(words[2], {})
        return
    is_module = words[1] == "-m"
    name, arguments = (words[2], words[3:]) if is_module else (words[1], words[2:])
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", [name, *arguments, *added])
        patch.syspath_prepend(os.getcwd())
        if is_module:
            # Python warns of modules that are run when they are there already.
            patch.delitem(sys.modules, name, raising=False)
        # Programs that Detectron2 starts to ask about compilers, a second each time.
        patch.setattr(defaults, "collect_env_info", lambda: "")
        try:
            runpy.run_module(name, run_name="__main__") if is_module else runpy.run_path(name, run_name="__main__")
        except SystemExit as end:
            assert not end.code, f"{command}: exit status {end.code}"


def run_outside(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell and in a folder; see :func:`run_program`."""
    return run_program(["bash", "-c", command], folder)


def place(folder: Path, *more: str) -> Path:
    """A folder that looks like a clone, with links to train_net.py, the configs, and more that must not be written."""
    for name in ("train_net.py", "configs", *more):
        (folder / name).symlink_to(ROOT / name)
    return folder


def settings(**values: object) -> list[str]:
    """KEY VALUE pairs, with "__" for the dots of the keys."""
    return [word for key, value in values.items() for word in (key.replace("__", "."), str(value))]


# A training of two iterations.
SMALL = settings(
    SOLVER__MAX_ITER=2,
    SOLVER__IMS_PER_BATCH=2,
    SOLVER__WARMUP_ITERS=1,
    TEST__EVAL_PERIOD=0,
    DATALOADER__NUM_WORKERS=0,
    INPUT__MIN_SIZE_TRAIN="(64,)",
    INPUT__CROP__SIZE="(64,64)",
    INPUT__MIN_SIZE_TEST=64,
    TEST__SEM_SEG__NUM_PICTURES=1,
)
# A config of the paper with the quickstart's networks, in one process.
TINY = settings(
    MODEL__CLIP__ARCH="tiny-RN",
    MODEL__CLIP__IMAGE_SIZE=0,
    MODEL__CONTEXT_DECODER__WIDTH=64,
    MODEL__FPN__OUT_CHANNELS=32,
    MODEL__SEM_SEG_HEAD__CONVS_DIM=32,
    MODEL__DEVICE="cpu",
    SOLVER__ACCUMULATE=1,
    TEST__AUG__SCALES="(0.5,1.0)",
)


def run_small(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run train_net.py with a config of the paper: two iterations of a tiny model, in one process instead of eight.

    A training starts from random weights.
    """
    weights = [] if "--eval-only" in command else settings(MODEL__WEIGHTS="")
    run(command.replace("--num-gpus 8", ""), monkeypatch, [*SMALL, *TINY, *weights])
