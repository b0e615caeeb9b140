"""How often classes occur, and what follows: against loops over pixels and figures worked out by hand."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data.samplers import TrainingSampler
from detectron2.utils import comm
from PIL import Image

from icpc_d2.data import BadFileError
from icpc_d2.data.class_frequency import count_pixels, frequency_table, median_frequency_weights, repeat_factors
from icpc_d2.data.loader import NumberedSampler, build_sampler
from icpc_d2.data.reading import read_label

# Of 3 images the pixels of 4 classes, of which the last never occurs.
COUNTS = np.array([[60, 40, 0, 0], [100, 0, 0, 0], [50, 40, 10, 0]])


def write_labels(folder: Path) -> list[dict[str, str]]:
    dicts = []
    for index, row in enumerate(COUNTS):
        label = np.repeat(np.arange(4), row).astype(np.uint8)
        label = np.append(label, np.full(20, 255, np.uint8)).reshape(12, 10)
        file = folder / f"{index}.png"
        Image.fromarray(label).save(file)
        dicts.append({"sem_seg_file_name": str(file)})
    return dicts


def test_labelled_pixels_are_counted(tmp_path: Path) -> None:
    dicts = write_labels(tmp_path)
    found = count_pixels(dicts, lambda d: read_label(d["sem_seg_file_name"]), 4)
    np.testing.assert_array_equal(found, COUNTS)


@pytest.mark.parametrize("world_size", [2, 3, 5])  # 5: some processes have no image
def test_processes_share_the_counting(world_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicts = write_labels(tmp_path)
    monkeypatch.setattr(comm, "get_world_size", lambda: world_size)
    gathered: list = []

    def count(rank: int) -> np.ndarray:
        monkeypatch.setattr(comm, "get_rank", lambda: rank)
        return count_pixels(dicts, lambda d: read_label(d["sem_seg_file_name"]), 4)

    monkeypatch.setattr(comm, "all_gather", lambda mine: gathered.append(mine) or [])
    for rank in range(world_size):
        count(rank)
    assert sum(map(len, gathered)) == len(dicts), "each image is counted once"
    monkeypatch.setattr(comm, "all_gather", lambda _: gathered)
    for rank in range(world_size):
        np.testing.assert_array_equal(count(rank), COUNTS)


def test_bad_files_stop_or_count_nothing(tmp_path: Path) -> None:
    dicts = write_labels(tmp_path)
    Path(dicts[1]["sem_seg_file_name"]).write_bytes(b"not an image")
    with pytest.raises(BadFileError, match=r"1\.png"):
        count_pixels(dicts, lambda d: read_label(d["sem_seg_file_name"]), 4)
    found = count_pixels(dicts, lambda d: read_label(d["sem_seg_file_name"]), 4, skip_bad_files=True)
    np.testing.assert_array_equal(found, COUNTS * [[1], [0], [1]])


def test_median_frequency_by_hand() -> None:
    """Frequencies 210 / 300, 80 / 200 and 10 / 100: their median is the second."""
    assert median_frequency_weights(COUNTS) == pytest.approx([0.4 / 0.7, 1, 4, 1])
    assert median_frequency_weights(np.zeros((2, 3), np.int64)) == [1, 1, 1]


def test_images_of_rare_classes_are_repeated() -> None:
    """Class 1 is in two thirds of the images, class 2 in a third: below 0.75, they ask for 9 / 8 and 9 / 4."""
    assert repeat_factors(COUNTS, 0.75, sqrt=False).tolist() == pytest.approx([9 / 8, 1, 9 / 4])
    assert repeat_factors(COUNTS, 0.75, sqrt=True).tolist() == pytest.approx([(9 / 8) ** 0.5, 1, 1.5])
    assert repeat_factors(COUNTS, 0.3, sqrt=True).tolist() == [1, 1, 1]
    assert repeat_factors(np.zeros((2, 3), np.int64), 0.5, sqrt=True).tolist() == [1, 1]


def sampler(factors: torch.Tensor, start: int = 0, rank: int = 0, world: int = 1) -> NumberedSampler:
    indices = islice(build_sampler("RepeatFactorTrainingSampler", len(factors), 7, 1.0, factors), rank, None, world)
    return NumberedSampler(indices, rank, world, start)


def test_the_sampler_repeats_by_the_factors() -> None:
    drawn = [index for index, _ in islice(sampler(torch.tensor([1.0, 2.5, 1.0])), 4500)]
    shares = np.bincount(drawn) / len(drawn)
    np.testing.assert_allclose(shares, np.array([1, 2.5, 1]) / 4.5, atol=0.02)


def test_the_sampler_goes_on_where_it_was_and_shares_among_processes() -> None:
    factors = torch.tensor([1.0, 1.4, 3.2, 1.0])
    whole = list(islice(sampler(factors), 40))
    assert list(islice(sampler(factors, start=13), 27)) == whole[13:]
    parts = [list(islice(sampler(factors, 5, rank, 2), 15)) for rank in (0, 1)]
    assert sorted(parts[0] + parts[1], key=lambda draw: draw[1]) == whole[10:]


def test_factors_of_one_are_detectron2s_training_sampler_in_what_an_epoch_holds() -> None:
    ours = [index for index, _ in islice(sampler(torch.ones(6)), 6)]
    assert sorted(ours) == sorted(islice(TrainingSampler(6, seed=7), 6)) == list(range(6))


def test_the_table_says_what_was_found() -> None:
    rows = [line.split() for line in frequency_table(COUNTS, list("abcd"), [0.57, 1, 4, 1]).splitlines()[2:]]
    assert rows == [
        ["a", "70.000", "%", "100.0", "%", "0.57"],
        ["b", "26.667", "%", "66.7", "%", "1"],
        ["c", "3.333", "%", "33.3", "%", "4"],
        ["d", "0.000", "%", "0.0", "%", "never", "occurs"],
    ]
