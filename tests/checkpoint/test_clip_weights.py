import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from detectron2.utils.file_io import PathManager
from safetensors.torch import save_file

from icpc_d2.checkpoint import clip_weights
from icpc_d2.checkpoint.clip_weights import read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}


def test_torch_files_and_safetensors_are_read(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "weights.bin")
    save_file(WEIGHTS, tmp_path / "weights.safetensors")
    for name in ("weights.bin", "weights.safetensors"):
        content = read_weights(str(tmp_path / name))
        assert content["model"].keys() == WEIGHTS.keys()
        assert "is_openai" not in content
        torch.testing.assert_close(content["model"]["a.weight"], WEIGHTS["a.weight"])


def test_torchscript_archives_are_told_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.jit.script(torch.nn.Linear(2, 3)).save(tmp_path / "archive.pt")
    content = read_weights(str(tmp_path / "archive.pt"))
    assert "archive.pt is a TorchScript archive and none of OpenAI's" in caplog.text
    assert content["is_openai"]
    assert {name: tuple(tensor.shape) for name, tensor in content["model"].items()} == {"weight": (3, 2), "bias": (3,)}


class Exploit:
    """Writes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


def test_nothing_is_executed(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    torch.save({"model": WEIGHTS, "extra": Exploit(trace)}, tmp_path / "evil.pth")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Exploit(trace)))
    for name in ("evil.pth", "evil.pt"):
        with pytest.raises(ValueError, match=rf"{name} cannot be read as weights"):
            read_weights(str(tmp_path / name))
    assert not trace.exists()


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors", "cut.pt"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    whole = tmp_path / f"whole{Path(name).suffix}"
    if name.endswith(".safetensors"):
        save_file(WEIGHTS, whole)
    elif name.endswith(".pt"):
        torch.jit.script(torch.nn.Linear(2, 3)).save(whole)
    else:
        torch.save(WEIGHTS, whole)
    content = whole.read_bytes()
    for length in (0, 10, len(content) // 2):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(ValueError, match=rf"{name} cannot be read as weights"):
            read_weights(str(tmp_path / name))


def test_other_content_is_named(tmp_path: Path) -> None:
    torch.save(torch.zeros(2), tmp_path / "tensor.pth")
    with pytest.raises(ValueError, match="holds a Tensor, wanted a dict of tensors by name"):
        read_weights(str(tmp_path / "tensor.pth"))


def test_offline_says_which_file_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(OSError) as error:
        PathManager.get_local_path("clip://RN50")
    message = str(error.value)
    assert message.startswith("Cannot download clip://RN50")
    assert "https://openaipublic.azureedge.net/clip/models/" in message
    assert str(tmp_path / ".cache" / "clip" / "RN50.pt") in message


def test_a_file_in_the_cache_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"weights"
    url = f"https://openaipublic.azureedge.net/clip/models/{hashlib.sha256(content).hexdigest()}/RN50.pt"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(clip_weights, "get_pretrained_url", lambda *_: url)
    cached = tmp_path / ".cache" / "clip" / "RN50.pt"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    assert PathManager.get_local_path("clip://RN50") == str(cached)


def test_unknown_models_are_named() -> None:
    with pytest.raises(ValueError, match=r"'clip://RN51' is unknown; there are clip://RN50, clip://RN101"):
        PathManager.get_local_path("clip://RN51")
