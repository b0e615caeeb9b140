"""The command ``icpc``: its help, its mistakes, and that the README and the tools' folder know the same commands."""

import re
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

import icpc_cli
from icpc_d2.config import get_config_file

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "icpc_d2" / "tools"
# The former name of `predict`, which no page mentions any more.
FORMER_NAMES = {"icpc_d2.tools.demo"}
HEAVY = {"torch", "detectron2", "numpy", "icpc_d2"}


def listed(text: str) -> dict[str, str]:
    """Command -> line of help, from ``icpc --help``."""
    return dict(re.findall(r"^  ([\w-]+) +(.*)$", text, re.MULTILINE))


def test_help_is_there_at_once() -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run = subprocess.run([sys.executable, "-m", "icpc_cli", "--help"], cwd=ROOT, capture_output=True, text=True)
        seconds.append(time.perf_counter() - start)
        assert run.returncode == 0
        assert listed(run.stdout) == {command: line for command, (_, line) in icpc_cli.COMMANDS.items()}
    assert min(seconds) < 1


def test_nothing_heavy_is_imported_for_help_and_mistakes() -> None:
    code = f"import sys, icpc_cli as i; i.main(['--help']); i.main(['x']); sys.exit(str({HEAVY} & {{*sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stderr.splitlines()[-1] == "set()"


def test_readme_and_folder_have_the_same_commands() -> None:
    table = (ROOT / "README.md").read_text().split("| command | what it does |\n|---|---|\n")[1].split("\n\n")[0]
    assert dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", table, re.MULTILINE)) == listed(icpc_cli.format_help())

    commands = {path.stem for path in TOOLS.glob("*.py") if "__main__" in path.read_text()}
    commands |= {f"{path.parent.name}.command" for path in TOOLS.glob("*/__main__.py")}
    modules = [module for module, _ in icpc_cli.COMMANDS.values()]
    assert sorted(modules) == sorted({f"icpc_d2.tools.{name}" for name in commands} - FORMER_NAMES)


@pytest.mark.parametrize(
    ("word", "question"),
    [("prepair", " Did you mean 'prepare'?"), ("bench", " Did you mean 'benchmark'?"), ("qqq", "")],
)
def test_unknown_commands(word: str, question: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert icpc_cli.main([word, "--help"]) == 2
    assert capsys.readouterr().err == f"icpc: there is no command '{word}'.{question} icpc --help lists all.\n"


@pytest.mark.parametrize("command", icpc_cli.COMMANDS)
def test_usage_has_the_name_of_the_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        icpc_cli.main([command, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: icpc {command} ")


def test_the_former_name_of_predict_goes_on_working(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["demo", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("icpc_d2.tools.demo", run_name="__main__")
    assert capsys.readouterr().out.startswith("usage: icpc predict ")


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_train_and_evaluate_are_train_net(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = []
    monkeypatch.setattr(f"icpc_d2.tools.{command}.launch", lambda *given: launched.append(given))
    icpc_cli.main([command, "--config-file", get_config_file("quickstart/icpc_tiny.yaml"), "--resume", "SEED", "1"])
    ((main, args),) = launched
    assert main is runpy.run_path(str(ROOT / "train_net.py"))["main"]
    assert (args.eval_only, args.resume, args.opts) == (command == "evaluate", True, ["SEED", "1"])


def test_mistakes_in_the_command_line_of_train_name_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        icpc_cli.main(["evaluate", "--config-file", "nowhere.yaml"])
    assert "icpc evaluate: error: --config-file nowhere.yaml: there is no such file" in capsys.readouterr().err
