"""docs/weights.md: each command runs, on files that are laid out as those of others and hold smaller networks."""

import pickle
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models.resnet import Bottleneck, ResNet

from icpc_d2.checkpoint.imagenet import rename_torchvision
from icpc_d2.data.class_list import read_class_list
from tests.support.checkpoints import assert_equal, deep_stem, make_clip, save_as_openai, tiny_cfg, write_checkpoint
from tests.support.datasets import save_prepared
from tests.support.denseclip_shapes import TINY_R, make_weights
from tests.support.documents import TINY, commands_of, run, run_small, settings
from tests.support.results import assert_mean_of_classes, read_results

SCENES = list(read_class_list("scenes_10").prompt_names)
# A ResNet-50 with an eighth of the channels.
NARROW = settings(MODEL__RESNETS__WIDTH_PER_GROUP=8, MODEL__DEVICE="cpu")


def save_resnets(folder: Path, cache: Path) -> None:
    """Those of OpenMMLab and torchvision, and Detectron2's as a download that is cached."""
    for name, network in (("resnet50_v1c", deep_stem(make_resnet())), ("resnet50", make_resnet())):
        torch.save(network.state_dict(), folder / f"{name}.pth")
    arrays = {rename_torchvision(name): value.numpy() for name, value in make_resnet().state_dict().items()}
    file = cache / "detectron2/ImageNetPretrained/torchvision/R-50.pkl"
    file.parent.mkdir(parents=True)
    file.write_bytes(pickle.dumps({"model": arrays, "__author__": "torchvision"}))


def make_resnet() -> ResNet:
    return ResNet(Bottleneck, [3, 4, 6, 3], width_per_group=8)


def test_weights(clone: Path, few_scenes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVCORE_CACHE", str(clone / "cache"))
    save_prepared(clone / "datasets", {"ade20k_sem_seg_train", "ade20k_sem_seg_val"})
    weights = make_weights(replace(TINY_R, classes=150, decoder=(64, 3, 4), fpn=32))
    meta = {"CLASSES": tuple(read_class_list("ade20k_150").prompt_names)}
    torch.save({"meta": meta, "state_dict": OrderedDict(weights)}, clone / "denseclip_r50.pth")
    torch.save({"meta": {"best": np.float64(43.5)}, "state_dict": OrderedDict(weights)}, clone / "IN.pth")
    save_as_openai(make_clip("tiny-RN"), clone / "RN50.pt")
    save_resnets(clone, clone / "cache")
    write_checkpoint(
        clone / "output/quickstart", tiny_cfg("DATASETS.TEST", ("scenes_sem_seg_val",), "MODEL.CLASS_NAMES", SCENES)
    )

    for command in commands_of("docs/weights.md"):
        if "--reverse" in command:
            (clone / "denseclip_R50.pth").rename(clone / "model_final.pth")
        if command.startswith(("icpc convert model", "icpc evaluate")):
            run(command, monkeypatch)
        elif "train_net.py" in command:
            run_small(command, monkeypatch)
        else:
            options = NARROW if " imagenet " in command else () if " -c " in command else TINY
            run(command, monkeypatch, options)
        if " imagenet " in command:
            converted = torch.load(clone / command.split()[4], weights_only=True)["model"]
            assert converted["res5.2.conv3.weight"].shape[0] == 2048
            assert not [name for name in converted if "fc." in name]

    assert_mean_of_classes(read_results(clone / "output/ade20k/denseclip_R50"), 150)
    assert_mean_of_classes(read_results(clone / "output/handed_on"), len(SCENES))
    assert_equal(torch.load(clone / "back.pth", weights_only=True)["state_dict"], weights)
    assert_equal(torch.load(clone / "OUT.pth", weights_only=True)["state_dict"], weights)
    assert torch.load(clone / "clip_RN50.pth", weights_only=True)["quick_gelu"] is True
