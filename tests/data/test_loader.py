"""The stream of training samples: one for any number of workers and processes; bad files stop it or are skipped."""

import logging
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from PIL import Image

from icpc_d2.data import BadFileError, SemSegDatasetMapper, loader
from icpc_d2.data.loader import NumberedSampler, TrainingSamples, build_sampler, build_train_loader, seeded

Stream = Callable[..., Iterator[list[dict[str, Any]]]]


@pytest.fixture
def dicts(tmp_path: Path, image: np.ndarray, label: np.ndarray) -> list[dict[str, str]]:
    pairs = []
    for k in range(6):
        files = {"file_name": str(tmp_path / f"{k}.jpg"), "sem_seg_file_name": str(tmp_path / f"{k}.png")}
        Image.fromarray(np.roll(image, k, 0)).save(files["file_name"])
        Image.fromarray(label).save(files["sem_seg_file_name"])
        pairs.append(files)
    return pairs


@pytest.fixture
def stream(cfg: CfgNode, dicts: list[dict[str, str]]) -> Iterator[Stream]:
    """Endless batches of four, or of a process's share of them."""
    opened = []

    def start(
        *, workers: int = 0, seed: int = 0, rank: int = 0, world: int = 1, on_bad_file: str = "raise"
    ) -> Iterator:
        samples = TrainingSamples(dicts, SemSegDatasetMapper(cfg, True), seed, on_bad_file)
        sampler = islice(build_sampler("TrainingSampler", len(dicts), seed), rank, None, world)
        opened.append(iter(build_train_loader(samples, NumberedSampler(sampler, rank, world), 4 // world, workers)))
        return opened[-1]

    yield start
    for batches in opened:
        if hasattr(batches, "_shutdown_workers"):
            batches._shutdown_workers()  # left to the garbage collector, it waits 5 seconds for each worker


def same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> bool:
    return len(ours) == len(theirs) and all(
        a["file_name"] == b["file_name"]
        and torch.equal(a["image"], b["image"])
        and torch.equal(a["sem_seg"], b["sem_seg"])
        for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_samples(stream: Stream, workers: int) -> None:
    alone, together = stream(), stream(workers=workers)
    for _ in range(5):
        assert same(next(alone), next(together))


def test_two_processes_share_the_samples_of_one(stream: Stream) -> None:
    one, two = stream(), [stream(rank=rank, world=2) for rank in (0, 1)]
    for _ in range(3):
        first, second = (next(part) for part in two)
        assert same(next(one), [first[0], second[0], first[1], second[1]])


def test_each_draw_of_a_picture_differs_and_so_does_each_seed(
    stream: Stream, cfg: CfgNode, dicts: list[dict[str, str]]
) -> None:
    samples = TrainingSamples(dicts, SemSegDatasetMapper(cfg, True), 0)
    assert not torch.equal(samples[0, 0]["image"], samples[0, 1]["image"])
    assert not same(next(stream()), next(stream(seed=1)))


def test_a_stream_can_start_later(stream: Stream, cfg: CfgNode, dicts: list[dict[str, str]]) -> None:
    samples = TrainingSamples(dicts, SemSegDatasetMapper(cfg, True), 0)
    late = NumberedSampler(build_sampler("TrainingSampler", len(dicts), 0), start=8)
    whole = stream()
    for _ in range(2):
        next(whole)
    assert same(next(whole), next(iter(build_train_loader(samples, late, 4, 0))))


def test_global_generators_are_left_as_they_were() -> None:
    np.random.seed(7)
    random.seed(7)
    expected = np.random.rand(), random.random()
    np.random.seed(7)
    random.seed(7)
    with seeded(1, 2):
        inside = np.random.rand(), random.random()
    assert (np.random.rand(), random.random()) == expected
    with seeded(1, 2):
        assert (np.random.rand(), random.random()) == inside


def damage(dicts: list[dict[str, str]], kind: str, k: int) -> str:
    file = Path(dicts[k]["file_name" if kind == "unreadable" else "sem_seg_file_name"])
    if kind == "unreadable":
        file.write_bytes(b"no image")
    else:
        Image.fromarray(np.full((60, 80) if kind == "range" else (60, 81), 9, np.uint8)).save(file)
    return file.name


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("unreadable", "wanted a readable image"),
        ("range", r"found the ids \[9\] in 4800 pixels, wanted 0\.\.3 or 255"),
        ("size", "found a label map of 60 x 81 .* wanted 60 x 80"),
    ],
)
def test_bad_files_stop_the_training_and_are_named(
    stream: Stream, dicts: list[dict[str, str]], kind: str, complaint: str, workers: int
) -> None:
    name = damage(dicts, kind, 2)
    batches = stream(workers=workers)
    with pytest.raises(BadFileError, match=f"(?s){name}: .*{complaint}"):
        list(islice(batches, 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_files_are_skipped_and_counted(
    cfg: CfgNode, dicts: list[dict[str, str]], caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    damage(dicts, "unreadable", 2)
    samples = TrainingSamples(dicts, SemSegDatasetMapper(cfg, True), 0, "skip")
    loader.logger.addHandler(caplog.handler)  # Detectron2's loggers do not pass on what they get
    batches = iter(build_train_loader(samples, NumberedSampler(build_sampler("TrainingSampler", 6, 0)), 3, workers))
    try:
        found = [sample["file_name"] for batch in islice(batches, 4) for sample in batch]
    finally:
        loader.logger.removeHandler(caplog.handler)
        if workers:
            batches._shutdown_workers()
    assert len(found) == 12
    assert dicts[2]["file_name"] not in found
    assert samples.num_skipped >= 2  # two epochs
    if not workers:  # the records of workers are in their own processes
        assert "skipped, the 1. time" in caplog.text
        assert "2.jpg" in caplog.text
        assert caplog.records[-1].levelno == logging.WARNING


def test_skipping_is_deterministic_too(stream: Stream, dicts: list[dict[str, str]]) -> None:
    damage(dicts, "range", 1)
    alone, together = (stream(workers=n, on_bad_file="skip") for n in (0, 2))
    for _ in range(3):
        assert same(next(alone), next(together))


def test_nothing_but_bad_files_is_an_error(stream: Stream, dicts: list[dict[str, str]]) -> None:
    for k in range(6):
        damage(dicts, "unreadable", k)
    with pytest.raises(BadFileError, match="20 bad files in a row, the last one is .*jpg"):
        next(stream(on_bad_file="skip"))


def test_misspelt_choices_are_refused() -> None:
    with pytest.raises(ValueError, match="INPUT.ON_BAD_FILE is 'ignore'; it can be 'raise' or 'skip'"):
        TrainingSamples([], dict, 0, "ignore")
    for name in ("WeightedTrainingSampler", "RepeatFactorTrainingSampler"):  # the latter without its factors
        with pytest.raises(ValueError, match=f"SAMPLER_TRAIN is '{name}'"):
            build_sampler(name, 6, 0)
