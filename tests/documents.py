"""Running what the documents say: their commands in this process, with their settings made small."""

import os
import re
import runpy
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from detectron2.engine import defaults

ROOT = Path(__file__).parents[1]


def commands(text: str) -> list[str]:
    """The lines of all ```bash blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


def snippet(text: str, name: str) -> str:
    """The block after ``<!-- tested: name -->``."""
    return re.search(f"<!-- tested: {re.escape(name)} -->\n```\\w*\n(.*?)```", text, re.DOTALL)[1]


def run(command: str, monkeypatch: pytest.MonkeyPatch, added: Sequence[str] = ()) -> None:
    """Run ``python script.py ...`` or ``python -m module ...`` here, which saves loading PyTorch each time.

    Args:
        added: further arguments.

    Raises:
        AssertionError: it ends with another status than 0.
    """
    words = shlex.split(command)
    assert words[0] == "python", f"not known how to test: {command}"
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


def place(folder: Path) -> Path:
    """A folder that looks like a clone."""
    for name in ("train_net.py", "configs"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def settings(**values: object) -> Iterator[str]:
    """KEY VALUE pairs, with "__" for the dots of the keys."""
    for key, value in values.items():
        yield from (key.replace("__", "."), str(value))
