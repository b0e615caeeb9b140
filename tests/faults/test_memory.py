"""What memory.py makes of its samples."""

import mmap
import os

import pytest

from tests.faults.memory import resident, summarize


def samples(growth: float, slowdown: float) -> list[dict[str, float]]:
    found, images = [], 0.0
    for step in range(1, 271):
        minute = step / 6
        images += 100 * (slowdown if minute > 27.5 else 1)
        rss = 500 + min(minute, 5) * 60 + growth * max(0, minute - 10)
        found.append({"minute": minute, "rss": rss, "rss_workers": 10.0, "images": images})
    return found


def test_what_settles_is_flat_and_what_leaks_is_not() -> None:
    flat = summarize(samples(growth=0, slowdown=1))
    assert flat["is_flat"]
    assert flat["growth"] == 0
    assert flat["settled_minute"] == 10
    assert flat["images_per_second"] == [10, 10]
    leaking = summarize(samples(growth=1, slowdown=0.5))
    assert not leaking["is_flat"]
    assert leaking["growth"] == pytest.approx(0.04, abs=0.005)
    assert leaking["images_per_second"] == [10, 5]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux alone has /proc")
def test_the_resident_size_of_a_process() -> None:
    """Of memory fresh from the system: what other tests have freed would be taken again without a trace."""
    before = resident(os.getpid())
    with mmap.mmap(-1, 64 << 20) as ballast:
        ballast.write(b"\1" * len(ballast))
        assert 50 < resident(os.getpid()) - before < 140
    assert resident(2**22 + 1) == 0
