"""Small models with random weights, and the files in which this and other projects leave such weights."""

import copy
from pathlib import Path
from typing import Any

import open_clip
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from torch import Tensor, nn

from icpc_d2 import add_icpc_config
from icpc_d2.analysis.random_models import build_random, load_resolved_config
from icpc_d2.checkpoint import WeightsCheckpointer
from icpc_d2.config import get_config_file
from icpc_d2.modeling.clip import get_architecture

CLASSES = ["sky", "tree", "chest of drawers", "car"]
TINY_CONFIG = get_config_file("quickstart/icpc_tiny.yaml")
DENSECLIP_CLASSES = ["sky", "chest of drawers", "traffic light", "person", "road"]
DENSECLIP = ["MODEL.CLASS_NAMES", DENSECLIP_CLASSES, "MODEL.PROMPT.NAME", "coop", "MODEL.ALIGNMENT.MULTI_SCALE", False]
DENSECLIP += ["MODEL.ALIGNMENT.LOSS_SCALES", []]


def tiny_cfg(*options: Any, config: str = "quickstart/icpc_tiny.yaml") -> CfgNode:
    """A config for :data:`CLASSES` on the CPU, changed by KEY VALUE pairs."""
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.merge_from_file(get_config_file(config))
    cfg.MODEL.CLASS_NAMES, cfg.MODEL.DEVICE, cfg.MODEL.SEM_SEG_HEAD.NORM = CLASSES, "cpu", "BN"
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ()
    cfg.MODEL.WEIGHTS = ""
    cfg.INPUT.MIN_SIZE_TEST = 64
    cfg.merge_from_list(list(options))
    return cfg


def write_checkpoint(folder: Path, cfg: CfgNode) -> Path:
    """Write ``config.yaml`` and ``model_final.pth``; return the path of the latter."""
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    with torch.no_grad():
        # As they start, all pixels look alike to the classifier.
        for parameter in model.sem_seg_head.predictor.parameters():
            parameter.mul_(50)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(cfg.dump())
    WeightsCheckpointer(model, str(folder), class_names=cfg.MODEL.CLASS_NAMES).save("model_final")
    return folder / "model_final.pth"


def make_model(backbone: str = "resnet", *overrides: Any) -> nn.Module:
    """A tiny ICPC."""
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.merge_from_file(get_config_file("camvid/icpc_tiny.yaml"))
    cfg.merge_from_list(["MODEL.CLASS_NAMES", ["sky", "road", "car"], "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 3])
    cfg.merge_from_list(["MODEL.SEM_SEG_HEAD.NORM", "BN", "MODEL.CLIP.VIT_NORM", "BN"])
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", f"build_clip_{backbone}_backbone"])
    if backbone == "vit":
        cfg.merge_from_list(["MODEL.CLIP.ARCH", "tiny-ViT", "MODEL.CLIP.VIT_BLOCKS", [0, 1, 2, 3]])
    cfg.merge_from_list(list(overrides))
    return build_model(cfg)


def make_clip(name: str, **overrides: Any) -> nn.Module:
    """open_clip's model of the architecture, with other random weights than any model of ours."""
    architecture = copy.deepcopy(get_architecture(name))
    for part, values in overrides.items():
        architecture[part].update(values)
    return open_clip.model.CLIP(**architecture)


def save_as_openai(clip: nn.Module, path: Path) -> None:
    """Write a TorchScript archive like OpenAI's: half precision, and three numbers beside the weights."""
    root = Node()
    numbers = {"input_resolution": torch.tensor(128), "context_length": torch.tensor(77), "vocab_size": torch.tensor(9)}
    for name, value in (clip.state_dict() | numbers).items():
        node = root
        *parents, leaf = name.split(".")
        for parent in parents:
            if parent not in node._modules:
                node.add_module(parent, nn.Module())
            node = node._modules[parent]
        node.register_buffer(leaf, value.half() if value.is_floating_point() else value)
    torch.jit.script(root).save(path)


class Node(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def build_denseclip(*options: Any) -> nn.Module:
    return build_random(load_resolved_config(TINY_CONFIG, [*DENSECLIP, *options]))


def deep_stem(network: nn.Module) -> nn.Module:
    """torchvision's ResNet with the stem and the names of OpenMMLab's ResNet-V1c."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((3, 32, 2), (32, 32, 1), (32, 64, 1)):
        convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    network.stem, network.conv1, network.bn1 = nn.Sequential(*layers), nn.Identity(), nn.Identity()
    return network


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name
