import re

import pytest

from icpc_d2.config import get_config_file
from icpc_d2.tools.benchmark import step as time_step

TINY = ["--config-file", get_config_file("quickstart/icpc_tiny.yaml"), "--classes", "3", "--size", "64"]


def test_options_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert time_step.main([*TINY, "--repeats", "1", "SOLVER.ACCUMULATE", "4"]) == 0
    report = capsys.readouterr().out
    assert "K = 3, B = 1, size 64, cpu" in report
    without, with_options = map(float, re.findall(r"(\d+\.\d+) s", report))
    assert 1.5 * without < with_options


@pytest.mark.parametrize(("arguments", "message"), [(["--size", "65"], "multiple of 32"), ([], "KEY VALUE")])
def test_wrong_arguments_are_told_so(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        time_step.main([*arguments, *(["SOLVER.ACCUMULATE", "2"] if arguments else [])])
    assert message in capsys.readouterr().err
