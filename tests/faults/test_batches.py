"""Several processes end at the same point, whichever of them has a reason to."""

import signal
from collections.abc import Iterator

import pytest

from icpc_d2.engine.hooks import stopping
from icpc_d2.engine.hooks.stopping import Batches, StopOnSignal, Stopped


def states_of_others(monkeypatch: pytest.MonkeyPatch, *others: tuple[int, str]) -> None:
    monkeypatch.setattr(stopping.comm, "all_gather", lambda own: [own, *others])


@pytest.fixture
def batches() -> Iterator[list]:
    return iter(Batches([["first"], ["second"]], StopOnSignal()))


def test_nobody_has_a_reason(batches: Iterator[list], monkeypatch: pytest.MonkeyPatch) -> None:
    states_of_others(monkeypatch, (0, ""))
    assert [next(batches), next(batches)] == [["first"], ["second"]]


def test_a_signal_to_one_process_stops_all(batches: Iterator[list], monkeypatch: pytest.MonkeyPatch) -> None:
    states_of_others(monkeypatch, (0, ""))
    next(batches)
    states_of_others(monkeypatch, (0, ""), (int(signal.SIGTERM), "its worker was killed by the same signal"))
    with pytest.raises(Stopped) as stopped:
        next(batches)
    assert stopped.value.code == 143


def test_a_file_that_one_process_cannot_read_ends_all(batches: Iterator[list], monkeypatch: pytest.MonkeyPatch) -> None:
    states_of_others(monkeypatch, (0, "3.png: wanted a readable image"))
    with pytest.raises(RuntimeError, match=r"Another process could not read its batch: 3\.png"):
        next(batches)


def test_loaders_of_others_are_taken_from_the_start(caplog: pytest.LogCaptureFixture) -> None:
    batches = Batches([["first"]], StopOnSignal())
    batches.skip(0)
    assert not caplog.text
    batches.skip(4)
    assert "the order of its data starts anew" in caplog.text
