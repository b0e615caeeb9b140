"""A trained model as one file, to hand on: what it holds, its size, and that it is all that a prediction needs."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from safetensors import safe_open
from torch import nn

from icpc_d2 import Predictor
from icpc_d2.checkpoint import model_file, sources
from icpc_d2.checkpoint.clip_weights import UnreadableWeightsError, read_weights
from icpc_d2.inference.predictor import load_model
from icpc_d2.tools.convert_checkpoint import main
from tests.support.checkpoints import CLASSES, TINY_CONFIG, tiny_cfg, write_checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cfg = tiny_cfg("MODEL.WEIGHTS", "where/it/began.pth", "MODEL.TEXT_ENCODER.WEIGHTS", "clip://RN50")
    return write_checkpoint(tmp_path_factory.mktemp("trained"), cfg)


@pytest.fixture(scope="module")
def handed_on(trained: Path) -> Path:
    """Beside the config of another training."""
    folder = trained.parent / "handed on"
    folder.mkdir()
    (folder / "config.yaml").write_text("MODEL: {CLASS_NAMES: [of, something, else]}")
    options = ["MODEL.DEVICE", "cuda", "TEST.SLIDING_WINDOW.SIZE", "96"]
    main(["model", str(trained), str(folder / "model.safetensors"), *options])
    return folder / "model.safetensors"


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


@pytest.mark.parametrize(("ending", "half"), [(".pth", False), (".safetensors", True)])
def test_the_file_alone_predicts_the_same(
    ending: str, half: bool, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    target = tmp_path / f"alone{ending}"
    main(["model", str(trained), str(target), *(["--half"] if half else [])])
    said, size = capsys.readouterr().out, target.stat().st_size
    assert f"{size / 1e6:.1f} MB, SHA-256 {hashlib.sha256(target.read_bytes()).hexdigest()}" in said
    assert size < (0.55 if half else 1.05) * trained.stat().st_size

    content, before = read_weights(str(target)), torch.load(trained, weights_only=True)["model"]
    assert content["class_names"] == CLASSES and content["model"].keys() == before.keys()
    for name, value in content["model"].items():
        torch.testing.assert_close(value.to(before[name].dtype), before[name], atol=1e-3 * half, rtol=1e-3 * half)
    found, wanted = (Predictor(path, "cpu")(image()) for path in (target, trained))
    assert (found.labels == wanted.labels).mean() > (0.98 if half else 0.9999)


def test_its_config_is_whole_and_of_no_machine(handed_on: Path) -> None:
    with safe_open(handed_on, "pt") as file:
        config = file.metadata()["config"]
    assert "DEVICE: cuda" in config and "SIZE: 96" in config
    assert "began" not in config and "clip://" not in config


def test_a_config_file_may_be_named(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(trained.read_bytes())
    arguments = ["model", str(tmp_path / "weights.pth"), str(tmp_path / "alone.pth")]
    with pytest.raises(SystemExit, match=r"error: There is no config\.yaml beside"):
        main(arguments)
    main([*arguments, "--config-file", TINY_CONFIG, "MODEL.CLASS_NAMES", str(CLASSES)])
    assert Predictor(tmp_path / "alone.pth").classes == CLASSES
    with pytest.raises(SystemExit, match="error: The weights were trained for 4 classes"):
        main([*arguments, "--config-file", TINY_CONFIG, "MODEL.CLASS_NAMES", "['a', 'b', 'c', 'd']"])


def test_a_data_sets_synonyms_go_with_the_file(tmp_path: Path) -> None:
    """They are prompts of the model, which a machine without the data set would build without them."""
    cfg = tiny_cfg("MODEL.CLASS_NAMES", ["boat", "car"], "MODEL.CLASS_SYNONYMS", [["ship"], []])
    file = write_checkpoint(tmp_path / "trained", cfg)
    MetadataCatalog.get("harbours").set(stuff_classes=["boat", "car"], prompt_synonyms=[("ship",), ()])
    data = ["DATASETS.TRAIN", "('harbours',)", "DATASETS.TEST", "()"]
    main(["model", str(file), str(tmp_path / "alone.pth"), "--config-file", TINY_CONFIG, *data])
    MetadataCatalog.remove("harbours")
    _, model = load_model(tmp_path / "alone.pth", "cpu")
    assert model.class_tokens.synonyms == [("boat", "ship"), ("car",)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model", "in.pth", "out.onnx"], "ends in .pth or .safetensors"),
        (["clip", "in.pth", "out.safetensors", "--config-file", "a"], "ends in .pth, by"),
        (["clip", "in.pth", "out.pth"], "required: --config-file"),
        (["clip", "in.pth", "out.pth", "--config-file", "a", "--half"], "--half is for the kind model"),
    ],
)
def test_command_lines_that_make_no_sense(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err


def test_what_half_precision_cannot_hold_is_named() -> None:
    weights = {
        "norm.running_var": torch.full((2,), 1e6),
        "conv.weight": torch.full((2,), 1e5),
        "count": torch.tensor(3),
    }
    with pytest.raises(ValueError, match=r"conv\.weight has values beyond half precision \(1e\+05\): leave --half out"):
        model_file.pack(weights, "", [], half=True)
    del weights["conv.weight"]
    stored = model_file.pack(weights, "", [], half=True)["model"]
    assert stored["norm.running_var"].dtype == torch.float32 and stored["count"].dtype == torch.int64


def test_from_the_hub(handed_on: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "in_hub_cache", lambda repository, *_: str(handed_on))
    assert Predictor("hf://me/mine", "cpu").classes == CLASSES


def test_metadata_of_others_is_no_config(tmp_path: Path) -> None:
    model_file.save_content(
        {"model": nn.Linear(1, 1).state_dict(), "class_names": {"a": 1}}, tmp_path / "a.safetensors"
    )
    with pytest.raises(UnreadableWeightsError, match="its class names are"):
        read_weights(str(tmp_path / "a.safetensors"))
    assert model_file.config_within(tmp_path / "a.safetensors") is None
    (tmp_path / "b.pth").write_bytes(b"damaged")
    assert model_file.config_within(tmp_path / "b.pth") is None
    torch.save({"meta": np.float64(1)}, tmp_path / "c.pth")  # numpy's numbers, which torch's reader refuses
    assert model_file.config_within(tmp_path / "c.pth") is None
