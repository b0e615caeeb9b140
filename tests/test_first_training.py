"""The first run of a new user: the paper's config, CLIP's weights from the hub's cache, two processes."""

import json
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save

from icpc_d2.analysis.random_models import class_names
from tests.support.documents import settings
from tests.support.hub import fill_cache
from tests.support.programs import run_ranks
from tests.support.results import read_results


def save_ade20k(folder: Path) -> None:
    """Four images to train and one to validate, in 150 classes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 1)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for index in range(count):
            label = rng.integers(0, 150, (4, 4)).astype(np.uint8).repeat(24, 0).repeat(24, 1)
            Image.fromarray(label).save(folder / "labels" / split / f"{index}.png")
            Image.fromarray(np.stack([label] * 3, axis=2)).save(folder / "images" / split / f"{index}.png")
    (folder / "classes.txt").write_text("\n".join(class_names(150)) + "\n")


def random_rn50() -> dict[str, torch.Tensor]:
    """What the hub's file of CLIP RN50 holds: its names and types, random values."""
    torch.manual_seed(0)
    clip = open_clip.create_model("RN50-quickgelu", pretrained=None)
    return {name: value.clone().contiguous() for name, value in clip.half().state_dict().items()}


@pytest.mark.slow
def test_icpc_r50_from_clips_weights_on_two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = random_rn50()
    cache, data, output, log = (tmp_path / name for name in ("hub", "data", "output", "log.txt"))
    file = fill_cache(cache, "timm/resnet50_clip.openai", "open_clip_model.safetensors", save(weights))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    save_ade20k(data)
    options = settings(
        MODEL__DEVICE="cpu",
        DATASETS__TRAIN=f"('folder:{data}/train',)",
        DATASETS__TEST=f"('folder:{data}/val',)",
        OUTPUT_DIR=output,
        INPUT__MIN_SIZE_TRAIN="(64,)",
        INPUT__MIN_SIZE_TEST=64,
        INPUT__CROP__SIZE="(64,64)",
        TEST__SLIDING_WINDOW__SIZE=64,
        TEST__SLIDING_WINDOW__STRIDE=43,
        SOLVER__IMS_PER_BATCH=4,
        SOLVER__MAX_ITER=1,
        SOLVER__WARMUP_ITERS=0,
        DATALOADER__NUM_WORKERS=0,
    )
    status = run_ranks([sys.executable, "train_net.py", "--config-file", "configs/ade20k/icpc_R50.yaml", *options], log)
    assert status == 0, log.read_text()[-6000:]

    text = (output / "log.txt").read_text()
    assert "World size: 2" in text and f"clip://RN50 is {file}, SHA-256 " in text
    line = json.loads((output / "metrics.json").read_text().splitlines()[0])
    assert np.isfinite([line["loss_sem_seg"], line["loss_align"], line["loss_contrast"]]).all()
    assert len([name for name in read_results(output) if name.startswith("IoU-")]) == 150
    trained = torch.load(output / "model_final.pth", weights_only=True)["model"]
    # The text encoder is frozen, the visual one has been moved by a step of its rate, 1e-5.
    name = "transformer.resblocks.3.mlp.c_fc.weight"
    assert torch.equal(trained[f"text_encoder.{name}"], weights[name].float())
    name = "layer3.0.downsample.0.weight"  # open_clip starts the branch beside it with 0
    found = next(value for key, value in trained.items() if key.endswith(name))
    assert (found - weights[f"visual.{name}"].float()).abs().max() == pytest.approx(1e-5, rel=0.1)
