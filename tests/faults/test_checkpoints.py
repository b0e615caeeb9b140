"""Checkpoints on disks that are full, in files that are damaged, and with clocks that jump."""

import logging
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from icpc_d2.checkpoint import ICPCCheckpointer
from icpc_d2.checkpoint.checkpoint_folder import newest_first, remove_leftovers, thin_out
from icpc_d2.checkpoint.clip_weights import UnreadableWeightsError


class Counter:
    """A part of a training that counts."""

    count = 0

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


def save(folder: Path, *counts: int, size: int = 100) -> ICPCCheckpointer:
    """Checkpoints after iterations of these numbers, whose weights are the number."""
    model, counter = nn.Linear(size, 1, bias=False), Counter()
    checkpointer = ICPCCheckpointer(model, str(folder), counter=counter)
    for counter.count in counts:
        nn.init.constant_(model.weight, counter.count)
        checkpointer.save(f"model_{counter.count:07d}", iteration=counter.count)
    return checkpointer


def resume(folder: Path) -> tuple[int, float]:
    """What a new process continues with: the count, and the weight."""
    model, counter = nn.Linear(100, 1, bias=False), Counter()
    ICPCCheckpointer(model, str(folder), counter=counter).resume_or_load("", resume=True)
    weights = set(model.weight.flatten().tolist())
    assert len(weights) == 1
    return counter.count, weights.pop()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[content.index(torch.full((8,), 3.0).numpy().tobytes())] ^= 1
    file.write_bytes(content)


def write_weights_alone(file: Path) -> None:
    torch.save({"model": {"weight": torch.ones(1, 100)}}, file)


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_bit, write_weights_alone])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1, 2, 3)
    damage(tmp_path / "model_0000003.pth")
    with caplog.at_level(logging.ERROR, "icpc_d2"):
        assert resume(tmp_path) == (2, 2.0)
    assert "model_0000003.pth" in caplog.text
    assert "Continuing from the checkpoint before it." in caplog.text


def test_nothing_but_damaged_checkpoints_is_an_error(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    for file in tmp_path.glob("*.pth"):
        truncate(file)
    with pytest.raises(UnreadableWeightsError, match="none of its checkpoints can be read"):
        resume(tmp_path)


@pytest.mark.parametrize("tag", ["", "model_00000", "model_0000009.pth", "../../elsewhere.pth", "\udcff\0"])
def test_a_torn_tag_is_no_loss(tmp_path: Path, tag: str) -> None:
    save(tmp_path, 1, 2)
    (tmp_path / "last_checkpoint").write_text(tag, errors="surrogateescape")
    assert resume(tmp_path) == (2, 2.0)
    (tmp_path / "last_checkpoint").unlink()
    assert resume(tmp_path) == (2, 2.0)


def test_clocks_may_jump(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    (tmp_path / "last_checkpoint").unlink()
    for age, name in enumerate(("model_0000003.pth", "model_0000001.pth", "model_0000002.pth")):
        os.utime(tmp_path / name, (10**9 + age, 10**9 + age))
    assert [path.name for path in newest_first(tmp_path)] == [f"model_000000{n}.pth" for n in (3, 2, 1)]
    thin_out(tmp_path, 3, 1)
    assert names(tmp_path) == ["model_0000003.pth"]


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes, as on a disk that gets full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_older_checkpoints_whole(tmp_path: Path) -> None:
    checkpointer = save(tmp_path, 1)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    with disk_of(1000), pytest.raises(OSError, match=r"Cannot write .*model_0000002\.pth: .* MiB free.*--resume"):
        checkpointer.save("model_0000002", iteration=2)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before
    assert resume(tmp_path) == (1, 1.0)


def test_a_full_disk_leaves_the_checkpoint_that_was_to_be_replaced(tmp_path: Path) -> None:
    checkpointer = save(tmp_path, 1)
    with disk_of(1000), pytest.raises(OSError, match="Cannot write"):
        checkpointer.save("model_0000001", iteration=1)
    assert resume(tmp_path) == (1, 1.0)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    checkpointer = save(tmp_path, 1)
    nn.init.constant_(checkpointer.model.weight, float("nan"))
    with pytest.raises(FloatingPointError, match=r"model_0000002.pth is not written: 1 tensors .* first weight"):
        checkpointer.save("model_0000002")
    assert resume(tmp_path) == (1, 1.0)


def test_the_newest_are_kept_and_the_final_and_the_best(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3, 4)
    for name in ("model_final.pth", "model_best.pth", "model_0000009.pth"):
        (tmp_path / name).touch()
    thin_out(tmp_path, 4, 0)
    assert len(list(tmp_path.glob("*.pth"))) == 7
    thin_out(tmp_path, 4, 2)
    kept = ["model_0000003.pth", "model_0000004.pth", "model_0000009.pth", "model_best.pth", "model_final.pth"]
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == kept


def test_what_a_killed_write_has_left_is_removed(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / ".tmp-99-model_0000002.pth").write_bytes(b"half")
    assert resume(tmp_path) == (1, 1.0)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["last_checkpoint", "model_0000001.pth"]


def test_without_checkpoints_resume_starts_from_the_weights(tmp_path: Path) -> None:
    save(tmp_path / "other", 5)
    model = nn.Linear(100, 1, bias=False)
    checkpointer = ICPCCheckpointer(model, str(tmp_path), counter=(counter := Counter()))
    assert not checkpointer.has_checkpoint()
    checkpointer.resume_or_load(str(tmp_path / "other" / "model_0000005.pth"), resume=True)
    assert (model.weight == 5).all()
    assert counter.count == 0
