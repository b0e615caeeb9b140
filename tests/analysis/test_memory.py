import sys
from pathlib import Path

import pytest
import torch

from icpc_d2.analysis.memory import peak_memory


@pytest.mark.skipif(sys.platform != "linux", reason="compares with what Linux says")
def test_peak_memory_is_the_systems() -> None:
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    assert peak_memory(torch.device("cpu")) == pytest.approx(peak / 1024, rel=0.05)
