"""What holds for every test: seeded, offline, one thread, and data sets in a temporary folder of its own."""

import fcntl
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before torch is imported: tests run side by side, and many threads on small tensors only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
# Before icpc_d2 is imported, which registers its data sets under this folder.
_DATASETS = tempfile.mkdtemp(prefix="icpc_d2-datasets-")
os.environ["DETECTRON2_DATASETS"] = _DATASETS

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from tests.support.logs import logs_restored

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests: `worksteal` gives the first half to one of two processes, the other to the other."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    others = [item for item in items if not item.get_closest_marker("slow")]
    files = list(dict.fromkeys(item.path for item in slow))
    firsts, seconds = ([item for item in slow if item.path in files[start::2]] for start in (0, 1))
    half = len(others) // 2
    items[:] = [*firsts, *others[:half], *seconds, *others[half:]]


def pytest_unconfigure() -> None:
    shutil.rmtree(_DATASETS, ignore_errors=True)


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    """For tests that run trainings in their own process: these take the logs, which other tests listen to."""
    with logs_restored():
        yield


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved in this test, the last one last."""
    figures: list[Figure] = []
    save = Figure.savefig

    def savefig(self: Figure, *args: object, **kwargs: object) -> None:
        figures.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart's model, exported for images of all sizes, a folder below its checkpoint; once for all workers."""
    from icpc_d2.inference.export.export import ExportOptions, export_model
    from tests.support.checkpoints import tiny_cfg, write_checkpoint

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "exported"
    path = folder / "new" / "model.onnx"
    folder.mkdir(exist_ok=True)
    with (folder.parent / "exported.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # it takes half a minute, so that a second worker waits for the first
        if not path.exists():
            weights = write_checkpoint(folder, tiny_cfg("MODEL.CONTEXT_DECODER.NUM_LAYERS", 1))
            export_model(weights, path, ExportOptions(alignment=True))
    return path


@pytest.fixture(scope="session")
def camvid_datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of data sets with a CamVid of six training and three validation pictures."""
    root = tmp_path_factory.mktemp("datasets")
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for kind in ("images", "annotations"):
            (root / "camvid_detectron2" / kind / split).mkdir(parents=True)
        for index in range(count):
            label = np.repeat(np.repeat(random.integers(0, 11, (4, 5), np.uint8), 12, 0), 12, 1)
            image = np.stack([20 * label, 255 - 20 * label, random.integers(0, 255, label.shape, np.uint8)], -1)
            Image.fromarray(image).save(root / "camvid_detectron2" / "images" / split / f"{index}.png")
            Image.fromarray(label).save(root / "camvid_detectron2" / "annotations" / split / f"{index}.png")
    return root


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Refuse connections and name look-ups that leave the machine, as an error that names the address."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse_remote(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_remote(self.family, address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_remote(socket.AF_INET, (host,))
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield


def _refuse_remote(family: int, address: Any) -> None:
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = address[0].decode() if isinstance(address[0], bytes) else address[0]
    local = host is None or host in ("", "localhost", "::1", "0.0.0.0", "::", socket.gethostname())
    if not local and not host.startswith("127."):
        raise RuntimeError(f"a test tried to reach {host}: tests run offline")
