"""CLIP's text encoder by itself."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model

from icpc_d2.checkpoint import load_text_encoder
from tests.support.checkpoints import make_clip, make_model, save_as_openai
from tests.support.models import make_cfg
from tests.support.training import make_data, make_trainer


@pytest.mark.parametrize("source", ["openai", "open_clip"])
def test_the_text_encoder_alone_is_loaded(source: str, tmp_path: Path) -> None:
    model, clip = make_model(), make_clip("tiny-RN")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    if source == "openai":
        save_as_openai(clip, tmp_path / "clip.pt")
    else:
        torch.save({"state_dict": clip.state_dict()}, tmp_path / "clip.pt")
    load_text_encoder(model, str(tmp_path / "clip.pt"))
    weights = clip.state_dict()
    for name, value in model.state_dict().items():
        wanted = weights[name.removeprefix("text_encoder.")] if name.startswith("text_encoder.") else before[name]
        torch.testing.assert_close(value, wanted, atol=1e-3 if source == "openai" else 0, rtol=0)


def test_nothing_is_loaded_from_nowhere() -> None:
    model = make_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_text_encoder(model, "")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_models_on_imagenet_backbones_have_room_for_it(tmp_path: Path) -> None:
    """Table 10."""
    small = {"DEPTH": 50, "STEM_OUT_CHANNELS": 8, "WIDTH_PER_GROUP": 8, "RES2_OUT_CHANNELS": 16}
    options = [word for key, value in small.items() for word in (f"MODEL.RESNETS.{key}", value)]
    model = build_model(make_cfg("ade20k/icpc_imagenet_R50.yaml", *options, "MODEL.CLIP.ARCH", "tiny-RN"))
    clip = make_clip("tiny-RN")
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    load_text_encoder(model, str(tmp_path / "clip.pt"))
    assert torch.equal(model.text_encoder.text_projection, clip.text_projection)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    weights = make_clip("tiny-RN").state_dict()
    torch.save(weights | {"ln_final.weight": torch.zeros(3)}, tmp_path / "shape.pt")
    with pytest.raises(ValueError, match=r"text_encoder\.ln_final\.weight: found the shape \(3,\)"):
        load_text_encoder(make_model(), str(tmp_path / "shape.pt"))
    del weights["ln_final.weight"]
    torch.save(weights, tmp_path / "missing.pt")
    with pytest.raises(ValueError, match=r"MODEL\.TEXT_ENCODER\.WEIGHTS.*\n1 missing .*text_encoder\.ln_final\.weight"):
        load_text_encoder(make_model(), str(tmp_path / "missing.pt"))


def test_a_training_starts_from_them_and_a_resumed_one_does_not(tmp_path: Path) -> None:
    data, clip = make_data(tmp_path / "data"), make_clip("tiny-RN")
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    keys = {"MODEL__TEXT_ENCODER__WEIGHTS": str(tmp_path / "clip.pt"), "MODEL__WEIGHTS": ""}
    trainer = make_trainer(data, tmp_path / "output", **keys)
    assert torch.equal(trainer.model.text_encoder.text_projection, clip.text_projection)
    trainer.checkpointer.save("model_0000000", iteration=0)
    (tmp_path / "clip.pt").unlink()
    resumed = make_trainer(data, tmp_path / "output", resume=True, **keys)
    assert torch.equal(resumed.model.text_encoder.text_projection, clip.text_projection)
