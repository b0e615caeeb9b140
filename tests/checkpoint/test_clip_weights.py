import argparse
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from icpc_d2.checkpoint.clip_weights import read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}


def test_torch_files_and_safetensors_are_read(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "weights.bin")
    save_file(WEIGHTS, tmp_path / "weights.safetensors")
    for name in ("weights.bin", "weights.safetensors"):
        content = read_weights(str(tmp_path / name))
        assert content["model"].keys() == WEIGHTS.keys()
        assert "quick_gelu" not in content
        torch.testing.assert_close(content["model"]["a.weight"], WEIGHTS["a.weight"])


def test_torchscript_archives_are_told_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.jit.script(torch.nn.Linear(2, 3)).save(tmp_path / "archive.pt")
    content = read_weights(str(tmp_path / "archive.pt"))
    assert "archive.pt is a TorchScript archive and none of OpenAI's" in caplog.text
    assert content["quick_gelu"] is True
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


@pytest.mark.parametrize("legacy", [False, True])
def test_numbers_and_arrays_of_numpy_are_data(legacy: bool, tmp_path: Path) -> None:
    """mm's checkpoints have them in their "meta"."""
    meta = {"best": np.float64(43.5), "seen": np.arange(3), "epoch": np.int64(2), "flags": np.array([True])}
    meta |= {"names": np.array(["a", "bc"])}
    torch.save({"state_dict": WEIGHTS, "meta": meta}, tmp_path / "mm.pth", _use_new_zipfile_serialization=not legacy)
    found = read_weights(str(tmp_path / "mm.pth"))["meta"]
    assert found["best"] == 43.5 and found["epoch"] == 2 and found["names"].tolist() == ["a", "bc"]
    np.testing.assert_array_equal(found["seen"], meta["seen"])


def test_the_object_that_is_refused_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": WEIGHTS, "args": argparse.Namespace(a=1)}, tmp_path / "a.pth")
    torch.save({"state_dict": WEIGHTS, "meta": {"file": tmp_path}}, tmp_path / "b.pth")
    arrays = np.array([Exploit(tmp_path / "executed")], dtype=object)
    torch.save({"state_dict": WEIGHTS, "meta": arrays}, tmp_path / "c.pth")
    for name, found in (("a", r"argparse\.Namespace"), ("b", r"pathlib\.\w*Path"), ("c", r"[\w.]*Path[\w.]*|getattr")):
        with pytest.raises(
            ValueError, match=rf"{name}\.pth cannot be read .* a Python object, {found}, which"
        ) as error:
            read_weights(str(tmp_path / f"{name}.pth"))
        assert "\x1b" not in str(error.value) and len(str(error.value)) < 600 + len(str(tmp_path))
    assert not (tmp_path / "executed").exists()
