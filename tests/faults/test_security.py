"""Files and downloads of others: nothing in them is executed, and they write nowhere but where they should."""

import hashlib
import http.server
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from detectron2.utils.file_io import PathManager
from huggingface_hub import constants
from torch import nn

from icpc_d2.checkpoint import ICPCCheckpointer, sources
from icpc_d2.checkpoint.clip_weights import UnreadableWeightsError
from icpc_d2.config.load import ConfigError, load_config


class Exploit:
    """Writes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


class ImageNetModel(nn.Module):
    """A model that Detectron2's ImageNet pickles are read for."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"bottom_up": nn.ModuleDict({"res2": nn.ModuleDict({"a": nn.Linear(1, 1)})})})


@pytest.mark.parametrize("name", ["evil.pth", "evil.pt", "evil.bin", "evil.pkl", "evil.safetensors", "evil"])
@pytest.mark.parametrize("model", [nn.Linear(1, 1), ImageNetModel()])
@pytest.mark.parametrize("write", [torch.save, lambda content, file: file.write_bytes(pickle.dumps(content))])
def test_no_file_of_weights_is_executed(tmp_path: Path, name: str, model: nn.Module, write: Callable) -> None:
    trace = tmp_path / "executed"
    write({"model": model.state_dict(), "extra": Exploit(trace)}, tmp_path / name)
    with pytest.raises(ValueError, match=name):
        ICPCCheckpointer(model).load(str(tmp_path / name))
    assert not trace.exists()


def test_a_checkpoint_to_continue_from_is_not_executed(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    model = nn.Linear(1, 1)
    torch.save({"model": model.state_dict(), "trainer": Exploit(trace)}, tmp_path / "model_0000001.pth")
    with pytest.raises(UnreadableWeightsError, match="none of its checkpoints can be read"):
        ICPCCheckpointer(model, str(tmp_path)).resume_or_load("", resume=True)
    assert not trace.exists()


def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    file = tmp_path / "weights.pkl"
    file.write_bytes(pickle.dumps(dict(model.state_dict())))
    with pytest.raises(ValueError, match="Where you trust the file, convert it: ") as error:
        ICPCCheckpointer(model).load(str(file))
    exec(str(error.value).split("convert it: ")[1], {})
    ICPCCheckpointer(model).load(str(tmp_path / "weights.pth"))


@pytest.mark.parametrize(
    "yaml",
    [
        "OUTPUT_DIR: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{trace}]]\n",
        "OUTPUT_DIR: !!python/name:os.system\n",
        "OUTPUT_DIR: !!python/module:antigravity\n",
    ],
)
def test_no_config_is_executed(tmp_path: Path, yaml: str) -> None:
    trace = tmp_path / "executed"
    for name, content in (("base.yaml", yaml.format(trace=trace)), ("config.yaml", "_BASE_: base.yaml\n")):
        (tmp_path / name).write_text(content)
        with pytest.raises(ConfigError, match="ConstructorError"):
            load_config(str(tmp_path / name))
    assert not trace.exists()


@contextmanager
def server(body: bytes, announced: int) -> Iterator[str]:
    """A download of this machine, which may break off."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
            thread.join()


CONTENT = b"weights" * 1000
ADDRESS = f"/openaipublic/{hashlib.sha256(CONTENT).hexdigest()}/RN50.pt"


@pytest.fixture
def download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Fetch clip://RN50 from a server of the test, into a cache of the test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def fetch(host: str) -> str:
        monkeypatch.setattr(sources, "get_pretrained_cfg", lambda *_: {"url": host + ADDRESS})
        return PathManager.get_local_path("clip://RN50")

    return fetch


def test_a_download_with_another_hash_is_refused(download: Callable[[str], str]) -> None:
    evil = CONTENT[:-1] + b"!"
    with (
        server(evil, len(evil)) as host,
        pytest.raises(OSError, match=r"Cannot get clip://RN50\. .*another file than wanted"),
    ):
        download(host)


def test_an_interrupted_download_is_refused_and_the_next_one_starts_over(download: Callable[[str], str]) -> None:
    with (
        server(CONTENT[:3000], len(CONTENT)) as host,
        pytest.raises(OSError, match=r"Cannot get clip://RN50\. .*broke off"),
    ):
        download(host)
    with server(CONTENT, len(CONTENT)) as host:
        assert Path(download(host)).read_bytes() == CONTENT


def test_a_cached_file_that_was_changed_is_fetched_again(download: Callable[[str], str]) -> None:
    with server(CONTENT, len(CONTENT)) as host:
        path = Path(download(host))
        path.write_bytes(b"changed")
        assert Path(download(host)).read_bytes() == CONTENT
    path.write_bytes(b"changed")
    with pytest.raises(OSError, match=r"Cannot get clip://RN50\. .* put it at .*RN50\.pt"):
        download("http://127.0.0.1:9")
