"""``icpc predict`` on many pictures: lists, addresses, shares of several processes, and going on after a kill."""

import json
import multiprocessing
import os
import re
import signal
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from icpc_d2.inference.predictor import Predictor
from icpc_d2.tools.predict import command as predict
from icpc_d2.tools.predict import throughput
from icpc_d2.tools.predict.manifest import Manifest
from icpc_d2.tools.predict.pipeline import in_batches_of_one_size, segment_images
from icpc_d2.tools.predict.shards import Shard, find_shard
from icpc_d2.tools.predict.sources import Source, find_sources
from tests.support.datasets import save_photos

SIZES = ((48, 64), (64, 48), (40, 40))
COUNT = 12


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of three sizes, one of which is broken."""
    return save_photos(tmp_path_factory.mktemp("photos"), [f"{index:02d}" for index in range(COUNT)], SIZES, "05")


def run(weights: str, output: Path, *arguments: Any) -> int:
    common = ["--weights", weights, "--output", str(output), "--kind", "label", "--device", "cpu"]
    return predict.main([*common, *map(str, arguments)])


def labels_in(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in folder.glob("*_label.png")}


def entries_in(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for path in folder.glob("manifest*") for line in path.read_text().splitlines()]
    return [line for line in lines if "place" in line]


def assert_all_done(folder: Path, weights: str, photos: Path) -> None:
    """Each picture was segmented, as it is alone."""
    found, predictor = labels_in(folder), Predictor(weights, "cpu")
    assert set(found) == {f"{index:02d}_label.png" for index in range(COUNT) if index != 5}
    for name, label in found.items():
        wanted = predictor(photos / name.replace("_label", "")).labels
        assert (label == wanted).mean() > 0.999, name  # sums of a batch are rounded in another order


def test_several_processes_share_the_pictures(
    weights: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert run(weights, tmp_path, "--input", photos, "--shard", "1/2") == 0
    assert "part 1 of 2 (by --shard): 6 of 12 inputs" in capsys.readouterr().out
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert run(weights, tmp_path, "--input", photos) == 1  # the broken one is of this part
    assert "part 2 of 2 (by torchrun)" in capsys.readouterr().out
    assert_all_done(tmp_path, weights, photos)
    assert {path.name for path in tmp_path.glob("manifest*")} == {"manifest-1-of-2.jsonl", "manifest-2-of-2.jsonl"}
    places = [entry["place"] for entry in entries_in(tmp_path)]
    assert len(places) == len(set(places)) == COUNT
    (failed,) = (entry for entry in entries_in(tmp_path) if entry["status"] == "failed")
    assert failed["place"].endswith("05.png") and "wanted a readable image" in failed["reason"]


def killed_after(count: int, arguments: list[Any]) -> None:
    """Run in a process of its own that is killed when so many pictures are written."""
    write, written = predict.SourcePredictor.write, []

    def write_or_die(self: predict.SourcePredictor, *args: Any) -> None:
        if len(written) >= count:
            os.kill(os.getpid(), signal.SIGKILL)
        written.append(write(self, *args))

    predict.SourcePredictor.write = write_or_die
    run(*arguments)


def test_a_killed_run_goes_on_by_any_number_of_processes(
    weights: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = [weights, tmp_path, "--input", photos, "--resume", "--batch-size", 2]
    process = multiprocessing.get_context("fork").Process(target=killed_after, args=(4, arguments))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*_label.png")}
    assert 0 < len(before) < COUNT - 1
    with (tmp_path / "manifest.jsonl").open("a") as file:
        file.write('{"place": "half a li')
    recorded = {entry["name"] for entry in entries_in_whole_lines(tmp_path) if entry["status"] == "done"}
    assert {f"{name}_label.png" for name in recorded} <= set(before)

    capsys.readouterr()
    for part in ("1/2", "2/2"):
        run(*arguments, "--shard", part)
    assert_all_done(tmp_path, weights, photos)
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*_label.png")}
    assert all(after[f"{name}_label.png"] == before[f"{name}_label.png"] for name in recorded)

    # What is whole is left alone, a file that is gone is written again, and so is what failed.
    (tmp_path / "03_label.png").unlink()
    assert run(*arguments) == 1
    output = capsys.readouterr()
    assert "10 are done already" in output.out and "11 of 12 done" in output.out and "05.png" in output.err
    assert_all_done(tmp_path, weights, photos)


def entries_in_whole_lines(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith("}") and '"place"' in line]


def test_results_of_other_settings_are_not_gone_on_with(
    weights: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = [weights, tmp_path, "--input", photos / "00.png", "--resume"]
    assert run(*arguments, "--classes", "grass, sand") == 0
    assert run(*arguments, "--classes", "grass, sand") == 0
    assert "1 are done already" in capsys.readouterr().out
    assert run(*arguments, "--classes", "grass, water") == 2
    assert "other settings: classes 'grass, sand', now 'grass, water'" in capsys.readouterr().err
    assert run(*arguments[:-1], "--classes", "grass, water") == 0


def test_the_rate_beside_that_of_the_model_alone(
    weights: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    batches, predict_batch = [], predict.SourcePredictor.predict

    def note(self: predict.SourcePredictor, images: list) -> list:
        batches.append([getattr(image, "size", None) for image in images])
        return predict_batch(self, images)

    monkeypatch.setattr(predict.SourcePredictor, "predict", note)
    assert run(weights, tmp_path, "--input", photos, "--measure", "--batch-size", "2") == 1
    said = capsys.readouterr().out
    assert re.search(r"the model alone, on 11 of them: [\d.]+ images/s, of which these are [\d.]+%", said), said
    # After the one that is looked at beforehand, the same images twice, those of a batch of one size.
    assert all(len(set(sizes)) == 1 and len(sizes) <= 2 for sizes in batches)
    seen = Counter(size for sizes in batches[1:] for size in sizes)
    assert sum(seen.values()) == 22 and all(count % 2 == 0 for count in seen.values())
    with pytest.raises(SystemExit):
        run(weights, tmp_path, "--input", photos, "--measure", "--engine", "ray")
    monkeypatch.setattr(throughput, "MEASURED", 1)
    assert run(weights, tmp_path, "--input", photos / "05.png", photos / "00.png", "--measure") == 1
    assert "the model alone, on 0 of them: none can be used" in capsys.readouterr().out


def test_lists_and_addresses(weights: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    memory = fsspec.filesystem("memory")
    for name in ("00.png", "01.png", "02.png", ".hidden.png"):
        memory.pipe(f"/bucket/photos/{name}", (photos / name.replace(".hidden", "00")).read_bytes())
    memory.pipe("/bucket/photos/notes.txt", b"no image")
    (tmp_path / "list.txt").write_text(f"{photos}/03.png\n\nmemory://bucket/photos/02.png\nmemory://bucket/no.png\n")
    arguments = ["--input-list", tmp_path / "list.txt", "--input", "memory://bucket/photos/0[01].png"]
    assert run(weights, tmp_path, *arguments) == 1
    found, predictor = labels_in(tmp_path), Predictor(weights, "cpu")
    assert set(found) == {f"0{index}_label.png" for index in range(4)}
    for name, label in found.items():
        assert (label == predictor(photos / name.replace("_label", "")).labels).mean() > 0.999
    output = capsys.readouterr()
    assert "4 of 5 done" in output.out and "memory://bucket/no.png" in output.err

    sources, missing = find_sources(["memory://bucket/photos", "memory://bucket/none/*.jpg", "s3://bucket/photos"])
    assert [source.name for source in sources] == ["00", "01", "02"]
    assert missing["memory://bucket/none/*.jpg"].startswith("there is no such file")
    assert "s3fs" in missing["s3://bucket/photos"]


def test_a_list_without_a_line_and_no_input_are_refused(weights: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\n")
    assert run(weights, tmp_path, "--input-list", tmp_path / "list.txt") == 2
    for wrong in ([], ["--input", "a", "--batch-size", "0"]):
        with pytest.raises(SystemExit):
            run(weights, tmp_path, *wrong)


@pytest.mark.parametrize(
    ("text", "environment", "shard"),
    [
        (None, {}, Shard(0, 1)),
        ("3/4", {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, Shard(2, 4, 0, "--shard")),
        (None, {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Shard(5, 8, 1, "torchrun")),
        (None, {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "2"}, Shard(2, 4, 2, "SLURM")),
        (None, {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}, Shard(0, 1)),  # sbatch, no srun
    ],
)
def test_the_part_of_a_process(text: str | None, environment: dict[str, str], shard: Shard) -> None:
    assert find_shard(text, environment) == shard


@pytest.mark.parametrize("text", ["0/4", "5/4", "2", "a/b", "-1/2"])
def test_parts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="wanted is I/N"):
        find_shard(text, {})


@pytest.mark.parametrize("count", [1, 3, 7, 20])
def test_parts_hold_each_input_once(count: int) -> None:
    parts = [Shard(index, count).of(range(10)) for index in range(count)]
    assert sorted(item for part in parts for item in part) == list(range(10))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def make_source(number: int) -> Source:
    return Source("image", f"{number}.png", str(number))


def test_batches_are_of_one_size_and_few_images_wait() -> None:
    shapes = [(4, 4, 3), (4, 6, 3), (4, 4, 3), (5, 5, 3), (4, 4, 3), (4, 6, 3), (6, 6, 3), (7, 7, 3)]
    images = [(make_source(index), SimpleNamespace(size=shape[:2])) for index, shape in enumerate(shapes)]
    taken = []

    def given() -> Iterable[tuple[Source, SimpleNamespace]]:
        for image in images:
            taken.append(image)
            yield image

    yielded = []
    for batch in in_batches_of_one_size(given(), 3, 3):
        assert len({image.size for _, image in batch}) == 1 and len(batch) <= 3
        yielded += [source for source, _ in batch]
        assert len(taken) - len(yielded) <= 3
    assert sorted(yielded) == [source for source, _ in images]


def test_a_mistake_of_the_program_is_no_failure_of_a_file() -> None:
    def read(source: Source) -> np.ndarray:
        raise KeyError("a mistake")

    with pytest.raises(KeyError, match="a mistake"):
        list(segment_images([make_source(0)], read, lambda images: [], lambda *_: None, 2))


def test_the_manifest_of_a_new_run_forgets_the_old_one(tmp_path: Path) -> None:
    for shard in (Shard(0, 1), Shard(1, 2)):
        with Manifest(tmp_path, shard, {"alpha": 0.5}, resume=False) as manifest:
            manifest.add(make_source(shard.index))
    assert [path.name for path in tmp_path.iterdir()] == ["manifest-2-of-2.jsonl"]
    manifest = Manifest(tmp_path, Shard(0, 3), {"alpha": 0.5}, resume=True)
    assert manifest.is_done(make_source(1)) and not manifest.is_done(make_source(0))
    assert not manifest.is_done(make_source(1)._replace(name="photos_1"))
