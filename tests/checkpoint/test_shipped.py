"""The CLIPs that come with the package: whole, small, as their cards say, and of use."""

import re
from pathlib import Path

import pytest
from detectron2.modeling import build_model

from icpc_d2.checkpoint.clip_weights import read_weights
from icpc_d2.checkpoint.download import sha256_of
from icpc_d2.checkpoint.sources import SHIPPED, locate
from icpc_d2.config import load_config
from icpc_d2.data.class_list import read_class_list
from icpc_d2.data.scenes.archive import DrawnScenes
from icpc_d2.data.scenes.captioned import SYNONYMS
from icpc_d2.evaluation.zero_shot import evaluate_zero_shot
from icpc_d2.tools.pretrain.trainer import CLIPCheckpointer
from tests.support.configs import CONFIGS

NAMES = ("tiny-RN", "tiny-ViT")
NUM_SCENES = 60
# Of A without a label; 4 would be a guess.
LEAST_MIOU = {"tiny-RN": 20, "tiny-ViT": 15}


def test_there_are_two_and_they_are_small() -> None:
    assert sorted(path.stem for path in SHIPPED.glob("*.safetensors")) == sorted(NAMES)
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 5e6


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_that_of_the_file(name: str) -> None:
    file = Path(locate(f"clip://{name}"))
    card = file.with_suffix(".md").read_text()
    assert f"`{sha256_of(file)}`" in card
    assert re.search(r"\| mAP \| \d", card) and "icpc pretrain --config-file" in card


@pytest.mark.parametrize("name", NAMES)
def test_they_tell_scenes_that_they_have_not_seen(name: str) -> None:
    cfg = load_config(str(CONFIGS / f"pretrain/{name.replace('-', '_')}.yaml"), ["MODEL.CLIP.RESNET_NORM", "BN"])
    cfg.MODEL.CLIP.VIT_NORM = "BN"
    model = build_model(cfg)
    CLIPCheckpointer(model).load(f"clip://{name}", checkpointables=[])
    assert read_weights(locate(f"clip://{name}"))["quick_gelu"] is True
    drawn = DrawnScenes("val", NUM_SCENES, ("day", "night", "line drawing", "snow"))
    scenes = [drawn[index] for index in range(NUM_SCENES)]
    figures = evaluate_zero_shot(model, scenes, SYNONYMS, read_class_list("scenes_10").prompt_names)
    assert figures["mAP"] > 2.5 * figures["mAP_chance"]
    for way in ("captions", "images"):
        assert figures[f"R@5_{way}"] > 90
    assert figures["mIoU"] > LEAST_MIOU[name]
