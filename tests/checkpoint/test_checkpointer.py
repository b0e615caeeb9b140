import copy
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from detectron2.projects.deeplab import add_deeplab_config
from safetensors.torch import save_file
from torch import nn

import icpc_d2  # noqa: F401  registers the models
from icpc_d2.checkpoint import ICPCCheckpointer, WeightsCheckpointer
from icpc_d2.config import add_icpc_config
from tests.support.checkpoints import make_clip, make_model, save_as_openai

CLASSES = ["sky", "road", "car"]


def assert_clip_loaded(model: nn.Module, clip: nn.Module, prefix: str, atol: float = 0.0) -> None:
    loaded = model.state_dict()
    for name, tensor in clip.visual.state_dict().items():
        torch.testing.assert_close(loaded[prefix + name], tensor, atol=atol, rtol=0)
    for name in (
        "token_embedding.weight",
        "positional_embedding",
        "text_projection",
        "transformer.resblocks.2.ln_1.bias",
    ):
        torch.testing.assert_close(loaded[f"text_encoder.{name}"], clip.state_dict()[name], atol=atol, rtol=0)


@pytest.mark.parametrize(("backbone", "name"), [("resnet", "tiny-RN"), ("vit", "tiny-ViT")])
def test_openais_archive(backbone: str, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, clip = make_model(backbone), make_clip(name)
    head = copy.deepcopy(model.sem_seg_head.state_dict())
    save_as_openai(clip, tmp_path / "clip.pt")
    with caplog.at_level(logging.INFO, "icpc_d2"):
        ICPCCheckpointer(model).load(str(tmp_path / "clip.pt"))
    assert_clip_loaded(model, clip, "backbone.visual.", atol=1e-3)
    for name, tensor in model.sem_seg_head.state_dict().items():
        torch.testing.assert_close(tensor, head[name], atol=0, rtol=0)
    assert "does without: logit_scale (1), input_resolution (1), context_length (1), vocab_size (1)." in caplog.text
    untouched = caplog.text.split("Left at their initial values: ")[1].splitlines()[0]
    for part in ("prompt (", "context_decoder (", "alignment (", "neck (", "sem_seg_head ("):
        assert part in untouched
    assert "text_encoder" not in untouched
    assert "visual" not in untouched


@pytest.mark.parametrize("ending", ["bin", "safetensors", "pt"])
def test_open_clips_files(ending: str, tmp_path: Path) -> None:
    model, clip = make_model(), make_clip("tiny-RN")
    path = tmp_path / f"weights.{ending}"
    if ending == "safetensors":
        save_file(clip.state_dict(), path)
    elif ending == "bin":
        torch.save(clip.state_dict(), path)
    else:  # as open_clip's training writes it
        weights = {f"module.{name}": value for name, value in clip.state_dict().items()}
        torch.save({"epoch": 3, "name": "run", "state_dict": weights}, path)
    ICPCCheckpointer(model).load(str(path))
    assert_clip_loaded(model, clip, "backbone.visual.")


def test_an_encoder_by_itself_is_no_model_to_predict_with(tmp_path: Path) -> None:
    """Neither are ImageNet's weights; a checkpoint of ours is, also an old one without BatchNorm's counters."""
    torch.save(make_clip("tiny-RN").state_dict(), tmp_path / "clip.pt")
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"an encoder by itself; alignment \(\d+\), .*sem_seg_head .* would be random"):
        ICPCCheckpointer(model, whole=True).load(str(tmp_path / "clip.pt"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    old = {name: value for name, value in before.items() if not name.endswith("num_batches_tracked")}
    torch.save({"model": old}, tmp_path / "old.pth")
    ICPCCheckpointer(model, whole=True).load(str(tmp_path / "old.pth"))


def test_positions_of_another_image_size(tmp_path: Path) -> None:
    clip = make_clip("tiny-RN", vision_cfg={"image_size": 224})
    torch.save(clip.state_dict(), tmp_path / "weights.pt")
    model = make_model()
    wanted = model.backbone.visual.attnpool.positional_embedding.shape
    assert clip.visual.attnpool.positional_embedding.shape != wanted
    ICPCCheckpointer(model).load(str(tmp_path / "weights.pt"))
    loaded = model.backbone.visual.attnpool.positional_embedding
    assert loaded.shape == wanted
    torch.testing.assert_close(loaded[0], clip.visual.attnpool.positional_embedding[0])


def test_text_positions_must_match(tmp_path: Path) -> None:
    torch.save(make_clip("tiny-RN", text_cfg={"context_length": 13}).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"text_encoder\.positional_embedding: found the shape \(13, 64\)"):
        ICPCCheckpointer(make_model()).load(str(tmp_path / "weights.pt"))


def test_openais_weights_refuse_gelu(tmp_path: Path) -> None:
    clip = make_clip("tiny-RN")
    save_as_openai(clip, tmp_path / "clip.pt")
    model = make_model()
    for name, module in list(model.text_encoder.named_modules()):
        if name.endswith("mlp"):
            module.gelu = nn.GELU()
    with pytest.raises(ValueError, match=r"QuickGELU.*set it to the same name with '-quickgelu'.*RN50-quickgelu"):
        ICPCCheckpointer(model).load(str(tmp_path / "clip.pt"))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    torch.save(make_clip("tiny-ViT").state_dict(), tmp_path / "weights.pt")
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"visual\.conv1\.weight|not in the model"):
        ICPCCheckpointer(model).load(str(tmp_path / "weights.pt"))
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], atol=0, rtol=0)


class Counting(nn.Module):
    """A model that counts its steps, for what a checkpoint holds besides weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.norm = nn.BatchNorm2d(2)


def test_own_checkpoints_hold_the_whole_training(tmp_path: Path) -> None:
    model = Counting()
    optimizer = torch.optim.AdamW(model.parameters())
    model.norm(model.conv(torch.rand(2, 1, 3, 3))).square().sum().backward()
    optimizer.step()
    ICPCCheckpointer(model, str(tmp_path), optimizer=optimizer).save("model_0000007", iteration=7)

    copied = Counting()
    copied_optimizer = torch.optim.AdamW(copied.parameters())
    checkpointer = ICPCCheckpointer(copied, str(tmp_path), optimizer=copied_optimizer)
    assert checkpointer.resume_or_load("", resume=True) == {"iteration": 7}
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(copied.state_dict()[name], tensor, atol=0, rtol=0)
    state, copied_state = optimizer.state_dict()["state"], copied_optimizer.state_dict()["state"]
    torch.testing.assert_close(copied_state[0]["exp_avg"], state[0]["exp_avg"], atol=0, rtol=0)


def test_own_checkpoints_are_strict(tmp_path: Path) -> None:
    model = Counting()
    weights = model.state_dict()
    weights["extra.weight"] = weights.pop("conv.bias")
    torch.save({"model": weights}, tmp_path / "other.pth")
    with pytest.raises(ValueError) as error:
        ICPCCheckpointer(model).load(str(tmp_path / "other.pth"))
    assert "1 missing from the weights: conv.bias" in str(error.value)
    assert "1 not in the model: extra.weight" in str(error.value)


def test_another_class_count_is_named(tmp_path: Path) -> None:
    ICPCCheckpointer(make_model(), str(tmp_path)).save("model")
    other = make_model("resnet", "MODEL.CLASS_NAMES", ["a", "b"], "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 2)
    with pytest.raises(ValueError, match=r"found the shape \(3, .* wanted \(2, .* class count"):
        ICPCCheckpointer(other).load(str(tmp_path / "model.pth"))


def test_a_checkpointer_can_be_used_again_after_a_failure(tmp_path: Path) -> None:
    model = Counting()
    checkpointer = ICPCCheckpointer(model, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth.*check MODEL\.WEIGHTS"):
        checkpointer.load(str(tmp_path / "nowhere.pth"))
    checkpointer.save("what?now")
    checkpointer.load(str(tmp_path / "what?now.pth"))


def test_no_weights_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "icpc_d2"):
        assert ICPCCheckpointer(Counting()).load("") == {}
    assert "MODEL.WEIGHTS is empty: weights are random, but for those" in caplog.text


def test_the_best_weights_are_not_what_resume_continues_from(tmp_path: Path) -> None:
    model = Counting()
    checkpointer = ICPCCheckpointer(model, str(tmp_path))
    checkpointer.save("model_0000001")
    WeightsCheckpointer(model, str(tmp_path)).save("model_best")
    assert (tmp_path / "model_best.pth").exists()
    assert checkpointer.get_checkpoint_file() == str(tmp_path / "model_0000001.pth")


def imagenet_cfg(norm: str) -> CfgNode:
    cfg = get_cfg()
    add_deeplab_config(cfg)
    add_icpc_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.RESNETS.DEPTH = 18
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    cfg.MODEL.RESNETS.NORM = norm
    cfg.MODEL.FPN.IN_FEATURES = cfg.MODEL.RESNETS.OUT_FEATURES
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    return cfg


def write_imagenet_pickle(model: nn.Module, path: Path, *, statistics: bool) -> dict[str, np.ndarray]:
    """A pickle as in Detectron2's model zoo, with random weights and a classifier."""
    weights = {
        name: np.random.rand(*tensor.shape).astype(np.float32)
        for name, tensor in model.backbone.bottom_up.state_dict().items()
        if "num_batches" not in name and (statistics or "running" not in name)
    }
    content = weights | {"stem.fc.weight": np.zeros((1000, 512), np.float32)}
    path.write_bytes(pickle.dumps({"model": content, "__author__": "torchvision", "matching_heuristics": True}))
    return weights


@pytest.mark.parametrize(("norm", "statistics"), [("BN", True), ("FrozenBN", False)])
def test_imagenet_resnets(norm: str, statistics: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = build_model(imagenet_cfg(norm))
    weights = write_imagenet_pickle(model, tmp_path / "R-18.pkl", statistics=statistics)
    with caplog.at_level(logging.INFO, "icpc_d2"):
        ICPCCheckpointer(model).load(str(tmp_path / "R-18.pkl"))
    loaded = model.backbone.bottom_up.state_dict()
    for name, value in weights.items():
        torch.testing.assert_close(loaded[name], torch.from_numpy(value))
    assert "sem_seg_head" in caplog.text.split("Left at their initial values: ")[1]


def test_imagenet_resnets_without_statistics_refuse_batch_norm(tmp_path: Path) -> None:
    model = build_model(imagenet_cfg("BN"))
    write_imagenet_pickle(model, tmp_path / "R-18.pkl", statistics=False)
    statistics = r"30 missing from the weights: backbone\.bottom_up\.res3\.0\.conv1\.norm\.running_mean"
    with pytest.raises(ValueError, match=statistics):  # res2 is frozen and needs none
        ICPCCheckpointer(model).load(str(tmp_path / "R-18.pkl"))


def test_pickles_are_refused_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "weights.pkl").write_bytes(b"never read")
    with pytest.raises(
        ValueError, match="is a pickle, which may execute code; it is read for an ImageNet ResNet alone"
    ):
        ICPCCheckpointer(Counting()).load(str(tmp_path / "weights.pkl"))
