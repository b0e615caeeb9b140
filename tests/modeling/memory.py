"""Peak memory of a few lines of Python, measured in a process of their own."""

import subprocess
import sys

START = """
import pathlib, re, resource, sys
def peak():
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # ru_maxrss would begin at the size of the process that started this one
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
def start():
    global before
    before = peak()
"""


def peak_growth(code: str) -> float:
    """Run `code` and return how much its peak memory grows after it calls ``start()``, in MiB."""
    program = f"{START}{code}\nprint(peak() - before)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(answer.stdout.split()[-1])
