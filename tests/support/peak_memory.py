"""Peak memory of a few lines of Python, measured in a process of their own."""

import subprocess
import sys
from textwrap import indent

PROGRAM = """
{before}
def work():
{work}
from icpc_d2.analysis.timing import peak_growth
print(peak_growth(work, "cpu"))
"""


def peak_growth(code: str) -> float:
    """Run `code` and return how far memory rises in what follows its line ``start()``, in MiB."""
    before, work = code.split("start()\n")
    program = PROGRAM.format(before=before, work=indent(work, "    "))
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(answer.stdout.split()[-1])
