"""``icpc predict --engine ray``: the files and the manifest of one process, whoever dies.

What needs a cluster is skipped where Ray is missing: `make setup` leaves it out, `make test-ray` has it. With
ICPC_TEST_PICTURES=2000 it takes so many pictures.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from icpc_d2.tools.predict import command as predict
from icpc_d2.tools.predict import ray_engine
from icpc_d2.tools.predict.ray_engine import RayWorker, Workers, plan_workers
from icpc_d2.tools.predict.sources import Source, find_sources
from tests.support.datasets import save_photos
from tests.support.programs import ROOT

COUNT = int(os.environ.get("ICPC_TEST_PICTURES", 40))
BROKEN = COUNT // 3


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two sizes, one of which is broken."""
    names = [f"{index:05d}" for index in range(COUNT)]
    return save_photos(tmp_path_factory.mktemp("photos"), names, [(48, 64), (40, 40)], names[BROKEN])


@pytest.fixture
def words(weights: str, photos: Path) -> list[str]:
    """All but the output folder. Batches of one: else sums are rounded as neighbours in a batch have it."""
    return ["--weights", weights, "--input", str(photos), "--kind", "label", "--device", "cpu", "--batch-size", "1"]


@pytest.fixture(scope="module")
def alone(weights: str, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one process."""
    folder = tmp_path_factory.mktemp("alone")
    words = ["--weights", weights, "--input", str(photos), "--kind", "label", "--device", "cpu", "--batch-size", "1"]
    assert predict.main([*words, "--output", str(folder), "--resume"]) == 1
    return folder


def assert_the_same(folder: Path, alone: Path) -> None:
    """The files are those of one process to the last byte, and each input has one result, the same one."""
    assert {path.name for path in folder.iterdir()} == {path.name for path in alone.iterdir()}
    for path in alone.glob("*.png"):
        assert (folder / path.name).read_bytes() == path.read_bytes(), path.name
    last = {entry["place"]: entry for entry in entries_in(folder)}
    assert list(last.values()) and sorted(last.values(), key=str) == sorted(entries_in(alone), key=str)
    done = [entry["place"] for entry in entries_in(folder) if entry["status"] == "done"]
    assert len(done) == len(set(done)) == COUNT - 1


def entries_in(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines() if line]
    return [line for line in lines if "place" in line]


def start(words: list[str], mark: str) -> subprocess.Popen:
    """Start the command; all processes that it starts have `mark` in their environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ICPC_TEST_MARK": mark}
    command = [sys.executable, "-W", "ignore", "-m", "icpc_d2", "predict", "--engine", "ray", "--workers", "2", *words]
    return subprocess.Popen(command, env=environment, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)


def workers_of(mark: str) -> list[int]:
    """Return the processes of the command's workers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                mark.encode() in (process / "environ").read_bytes()
                and b"RayWorker" in (process / "cmdline").read_bytes()
            ):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def wait_for_files(folder: Path, count: int, process: subprocess.Popen) -> None:
    while len(list(folder.glob("*.png"))) < count:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the workers in /proc")
def test_the_files_of_one_process_though_a_worker_and_then_the_command_die(
    words: list[str], alone: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="--engine ray needs the extra [ray]: make test-ray")
    mark, words = str(uuid4()), [*words, "--output", str(tmp_path), "--resume"]
    process = start(words, mark)
    wait_for_files(tmp_path, COUNT // 8, process)
    workers = workers_of(mark)
    os.kill(workers[0], signal.SIGKILL)
    wait_for_files(tmp_path, COUNT // 2, process)
    process.kill()
    process.communicate()
    done = {entry["name"] for entry in entries_in(tmp_path) if entry["status"] == "done"}
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*_label.png")}
    assert len(workers) == 2 and 0 < len(done) <= len(before) < COUNT - 1

    process = start(words, mark)
    output = process.communicate()[0]
    assert process.returncode == 1, output
    assert f"{len(done)} are done already" in output and f"{COUNT - 1} of {COUNT} done" in output
    for path in tmp_path.glob(".tmp-*"):  # of the command that was killed
        path.unlink()
    assert_the_same(tmp_path, alone)
    assert all((tmp_path / f"{name}_label.png").stat().st_mtime_ns == before[f"{name}_label.png"] for name in done)
    end = time.monotonic() + 60
    while workers_of(mark):
        assert time.monotonic() < end, "workers go on without the command"
        time.sleep(0.2)


@pytest.fixture
def worker(words: list[str], tmp_path: Path) -> Callable[..., RayWorker]:
    """A worker without a cluster, whose results go to the folder `seen`."""

    def make(*more: str, marker: bool = True) -> RayWorker:
        (tmp_path / "seen").mkdir()
        if marker:
            (tmp_path / "seen/.tmp-ray").touch()
        args = predict.parse_args([*words, *more, "--engine", "ray", "--output", str(tmp_path / "seen")])
        return RayWorker(args, Path.cwd(), tmp_path / "seen/.tmp-ray", Workers(1, 1, 0))

    return make


def part_of(sources: list[Source]) -> dict[str, np.ndarray]:
    """What Ray hands to a worker."""
    return {name: np.array([getattr(source, name) for source in sources]) for name in Source._fields}


def test_a_worker_gives_a_result_for_each_input(worker: Callable, photos: Path, alone: Path, tmp_path: Path) -> None:
    sources = find_sources([str(photos)])[0][BROKEN - 2 : BROKEN + 2]
    rows = sorted(worker()(part_of(sources)), key=lambda row: row["place"])
    assert [row["place"] for row in rows] == [[source.place] for source in sources]
    assert [row["failed"] for row in rows] == [[False], [False], [True], [False]]
    assert "wanted a readable image" in rows[2]["reason"][0]
    files = [tmp_path / f"seen/{source.name}_label.png" for source in sources if source.name != f"{BROKEN:05d}"]
    assert all(file.read_bytes() == (alone / file.name).read_bytes() for file in files)
    assert {file.name for file in (tmp_path / "seen").iterdir()} == {".tmp-ray", *(file.name for file in files)}


def test_an_input_that_kills_its_workers_is_left_out(
    worker: Callable, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Death(BaseException):
        """In the place of the end of the process: what follows in it does not happen."""

    killer = f"{BROKEN:05d}"
    sources = find_sources([str(photos)])[0][BROKEN - 1 : BROKEN + 2]
    made, read = worker(), predict.SourcePredictor.read

    def read_or_die(self: predict.SourcePredictor, source: Source) -> np.ndarray:
        if source.name == killer:
            raise Death
        return read(self, source)

    monkeypatch.setattr(predict.SourcePredictor, "read", read_or_die)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *given, **named: None)
        for _ in range(3):
            with pytest.raises(Death):
                list(made(part_of(sources)))
    (log,) = (tmp_path / "seen").glob(f".tmp-ray-{sha256(sources[0].place.encode()).hexdigest()}")
    assert log.read_text().splitlines().count("1 begun") == 2 == log.read_text().splitlines().count("0 done")
    rows = list(made(part_of(sources)))
    assert [row["failed"] for row in rows] == [[False], [True], [False]]
    assert rows[1]["reason"][0].startswith("2 workers died of it")
    assert not log.exists()


def test_a_machine_that_does_not_see_the_output_folder_is_no_worker(worker: Callable) -> None:
    with pytest.raises(FileNotFoundError, match="wanted is an --output that all machines of the cluster share"):
        worker(marker=False)


@pytest.mark.parametrize(
    ("count", "nodes", "device", "workers"),
    [
        (None, [{"GPU": 4, "CPU": 16}, {"GPU": 2, "CPU": 8}, {"CPU": 4}], None, Workers(6, 0, 1)),
        (3, [{"GPU": 4, "CPU": 16}], "cuda", Workers(3, 0, 1)),
        (None, [{"GPU": 4, "CPU": 16}], "cpu", Workers(4, 4, 0)),
        (None, [{"CPU": 2}], None, Workers(1, 2, 0)),
        (None, [{"CPU": 2}, {"CPU": 9}], None, Workers(2, 4, 0)),
        (2, [{"CPU": 2}], None, Workers(2, 1, 0)),
        (3, [{"CPU": 6}, {"CPU": 6}], None, Workers(3, 3, 0)),  # of four cores, there would be two
    ],
)
def test_the_workers_of_a_cluster(count: int | None, nodes: list, device: str | None, workers: Workers) -> None:
    assert plan_workers(count, nodes, device) == workers


@pytest.mark.parametrize(
    ("count", "nodes", "device", "message"),
    [
        (5, [{"GPU": 4, "CPU": 16}], None, "found 4 GPUs in the Ray cluster, wanted one for each of 5 workers"),
        (None, [{"CPU": 16}], "cuda", "found 0 GPUs in the Ray cluster, wanted one for each of 1 workers"),
        (3, [{"CPU": 2}], None, "found 2 CPU cores in the Ray cluster, wanted one for each of 3 workers"),
    ],
)
def test_more_workers_than_the_cluster_has(count: int | None, nodes: list, device: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_workers(count, nodes, device)


def test_what_is_refused_before_anything_starts(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    words = [*words, "--output", str(tmp_path), "--engine", "ray"]
    for missing in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, missing, None)
    assert predict.main(words) == 2
    assert "--engine ray needs Ray Data" in capsys.readouterr().err
    for more, message in ((["--device", "cuda:1"], "wanted is cpu or cuda"), (["--input", "0"], "0 is a camera")):
        assert predict.main([*words, *more]) == 2
        assert message in capsys.readouterr().err
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert predict.main(words) == 2
    assert "start it once, not 2 times by torchrun" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        predict.main([*words[:-2], "--workers", "2"])
    assert not list(tmp_path.iterdir())


def test_inputs_without_a_result_are_an_error(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rows:
        """Ray's results, of which one is missing and one comes twice."""

        def iter_rows(self) -> list[dict[str, Any]]:
            return [{"place": "b.png", "failed": False, "reason": ""}] * 2

    class Ray:
        """A cluster of one machine."""

        class exceptions:
            """Ray's errors."""

            RayError = KeyError

        init = shutdown = staticmethod(lambda *given, **named: None)
        nodes = staticmethod(lambda: [{"Alive": True, "Resources": {"CPU": 2}}])

    monkeypatch.setattr(ray_engine, "_import_ray", lambda: Ray)
    engine = ray_engine.RayEngine(predict.parse_args([*words, "--output", str(tmp_path), "--engine", "ray"]))
    monkeypatch.setattr(engine, "_segmented", lambda *given: Rows())
    sources, found = [Source("image", f"{name}.png", name) for name in "ab"], []
    with pytest.raises(ray_engine.WorkersError, match=r"without results of 1 inputs, such as a\.png"):
        for result in engine.results(sources):
            found.append(result)
    assert found == [(sources[1], None)] and not list(tmp_path.iterdir())
