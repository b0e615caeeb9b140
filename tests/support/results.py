"""The results that a run leaves."""

import json
from pathlib import Path
from typing import Any

import pytest


def read_results(output: Path) -> dict[str, Any]:
    """``results.json`` of an output folder, but for the time, command and machine that it comes from."""
    results = json.loads((output / "results.json").read_text())
    assert results.pop("provenance")["command"]
    return results


def assert_mean_of_classes(results: dict[str, Any], num_classes: int) -> None:
    """The mIoU is the mean of the IoU of the classes that were there, of so many in the table."""
    values = [value for name, value in results.items() if name.startswith("IoU-")]
    assert len(values) == num_classes
    found = [value for value in values if value is not None and value == value]
    assert found and all(0 <= value <= 100 for value in found)
    assert results["mIoU"] == pytest.approx(sum(found) / len(found))
