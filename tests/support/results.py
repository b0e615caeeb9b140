"""The results that a run leaves."""

import json
from pathlib import Path
from typing import Any


def read_results(output: Path) -> dict[str, Any]:
    """``results.json`` of an output folder, but for the time, command and machine that it comes from."""
    results = json.loads((output / "results.json").read_text())
    assert results.pop("provenance")["command"]
    return results
