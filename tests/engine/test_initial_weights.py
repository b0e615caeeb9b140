"""The weights that a run starts from are settled before it begins."""

import hashlib
import re
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from huggingface_hub import constants

from icpc_d2.checkpoint import sources
from icpc_d2.config import ConfigError, get_config_file
from icpc_d2.config.load import load_config
from icpc_d2.engine import setup
from icpc_d2.engine.initial_weights import check_weights
from icpc_d2.engine.main import parse_args
from icpc_d2.engine.run_folder.provenance import describe_run
from icpc_d2.tools.convert_checkpoint import main as convert
from tests.support.checkpoints import make_clip, tiny_cfg, write_checkpoint
from tests.support.configs import PUBLISHED_FOLDERS, RUNNABLE
from tests.support.hub import fill_cache
from tests.support.training import arguments, make_data, make_trainer


def check(config: str, *options: str, eval_only: bool = False, resume: bool = False) -> None:
    args = Namespace(config_file=get_config_file(config), opts=list(options), resume=resume, eval_only=eval_only)
    check_weights(load_config(args.config_file, args.opts), args)


def test_random_weights_are_a_word_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("MODEL: {META_ARCHITECTURE: ICPC, BACKBONE: {FREEZE_AT: 0}}\n")
    args = Namespace(config_file=str(tmp_path / "mine.yaml"), opts=[], resume=False, eval_only=False)
    with pytest.raises(ConfigError, match=r'MODEL\.WEIGHTS is set nowhere, .* for random ones, say MODEL\.WEIGHTS ""'):
        check_weights(load_config(args.config_file), args)
    args.opts = ["MODEL.WEIGHTS", ""]
    check_weights(load_config(args.config_file, args.opts), args)
    check("camvid/icpc_tiny.yaml")  # says so in its file


def test_random_weights_at_a_pretrained_ones_rate_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture, logs_as_before: None
) -> None:
    data = make_data(tmp_path)
    warning = r"image encoder starts from random weights; but it learns at 0\.1 of .*: SOLVER\.BACKBONE_MULTIPLIER 1\.0"
    weights = write_checkpoint(tmp_path / "weights", tiny_cfg("DATASETS.TRAIN", str((f"folder:{data}/train",))))
    for number, (options, is_warned) in enumerate(
        [
            ({"SOLVER.BACKBONE_MULTIPLIER": "0.1"}, True),
            ({"SOLVER.BACKBONE_MULTIPLIER": "1.0"}, False),
            ({"SOLVER.BACKBONE_MULTIPLIER": "0.1", "MODEL.WEIGHTS": str(weights)}, False),
        ]
    ):
        setup(arguments(data, tmp_path / str(number), **{"MODEL.WEIGHTS": ""} | options))
        assert bool(re.search(warning, capsys.readouterr().out)) is is_warned, options


def test_an_encoder_by_itself_is_not_evaluated() -> None:
    for config in ("icpc_R50", "semantic_fpn_R50"):
        with pytest.raises(ConfigError, match=rf"an encoder by itself.*output/ade20k/{config}/model_final\.pth"):
            check(f"ade20k/{config}.yaml", eval_only=True)
    check("ade20k/icpc_R50.yaml", "MODEL.WEIGHTS", "", eval_only=True)


def test_no_row_of_the_paper_starts_from_random_weights() -> None:
    rows = [name for name in RUNNABLE if name.startswith(PUBLISHED_FOLDERS)]
    weights = {name: CfgNode.load_yaml_with_base(get_config_file(name))["MODEL"]["WEIGHTS"] for name in rows}
    assert len(rows) > 40 and [name for name in rows if not weights[name]] == []
    assert weights["ade20k/semantic_fpn_R50.yaml"] == "openmmlab://resnet50_v1c"
    assert weights["ade20k/icpc_imagenet_R101.yaml"] == "openmmlab://resnet101_v1c"
    assert weights["ade20k/icpc_R101.yaml"] == "clip://RN101"


@pytest.mark.parametrize(
    ("config", "options", "wanted"),
    [
        (
            "icpc_ViTB",
            ["MODEL.WEIGHTS", "clip://ViT-B-16/laion2b_s34b_b88k"],
            "ViT-B-16, but that is ViT-B-16-quickgelu",
        ),
        (
            "icpc_ViTB",
            ["MODEL.WEIGHTS", "clip://ViT-L-14/openai"],
            "ViT-L-14-quickgelu, but that is ViT-B-16-quickgelu",
        ),
        ("icpc_R50", ["MODEL.WEIGHTS", "clip://RN101"], "RN101-quickgelu, but that is RN50-quickgelu"),
        ("icpc_R50", ["MODEL.CLIP.ARCH", "tiny-RN"], "RN50-quickgelu, but that is tiny-RN"),
        ("icpc_imagenet_R50", ["MODEL.TEXT_ENCODER.WEIGHTS", "clip://RN50"], "RN50-quickgelu, but that is ViT-B-16-"),
    ],
)
def test_clip_is_for_its_own_architecture(config: str, options: list[str], wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"is for MODEL.CLIP.ARCH {wanted}"):
        check(f"ade20k/{config}.yaml", *options)


@pytest.mark.parametrize(
    "options",
    [
        ["MODEL.WEIGHTS", "clip://RN50/cc12m"],
        ["MODEL.WEIGHTS", "clip://RN50x4", "MODEL.CLIP.ARCH", "RN50x4-quickgelu"],
        [
            "MODEL.WEIGHTS",
            "clip://ViT-L-14-336/openai",
            "MODEL.CLIP.ARCH",
            "ViT-L-14-quickgelu",
        ],  # of another image size
        ["MODEL.WEIGHTS", "clip://ViT-B-32/laion2b_s34b_b79k", "MODEL.CLIP.ARCH", "ViT-B-32"],
    ],
)
def test_other_clips_that_fit(options: list[str]) -> None:
    check("ade20k/icpc_R50.yaml", *options)


def test_clips_that_no_encoder_fits_are_refused() -> None:
    options = ["MODEL.WEIGHTS", "clip://EVA02-B-16/merged2b_s8b_b131k"]
    with pytest.raises(ValueError, match=r"'EVA02-B-16' has .*, which no encoder here has"):
        check("ade20k/icpc_ViTB.yaml", *options)


def test_a_training_says_what_file_it_started_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip("tiny-RN")
    torch.save(clip.state_dict(), tmp_path / "clip.bin")
    content = (tmp_path / "clip.bin").read_bytes()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    entry = {"hf_hub": "timm/resnet50_clip.openai/", "quick_gelu": True}
    monkeypatch.setattr(sources, "get_pretrained_cfg", lambda *_: entry)
    monkeypatch.setattr("icpc_d2.engine.initial_weights._check_architecture", lambda *_: None)
    fill_cache(tmp_path / "hub", "timm/resnet50_clip.openai", "open_clip_pytorch_model.bin", content)
    trainer = make_trainer(make_data(tmp_path / "data"), tmp_path / "out", MODEL__WEIGHTS="clip://RN50")
    assert torch.equal(trainer.model.text_encoder.text_projection, clip.text_projection)
    digest = hashlib.sha256(content).hexdigest()
    assert describe_run(trainer.cfg)["sha256"] == {"clip://RN50": digest}
    assert digest in (tmp_path / "out/provenance.json").read_text()


def test_what_cannot_be_fetched_ends_the_run_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("icpc_d2.engine.initial_weights._check_architecture", lambda *_: None)
    # To read the label maps of a large data set takes minutes.
    monkeypatch.setitem(setup.__globals__, "check_labels", lambda *_: pytest.fail("labels were read first"))
    with pytest.raises(OSError, match=r"Cannot get clip://RN50\. .* hf download"):
        setup(arguments(make_data(tmp_path / "data"), tmp_path / "out", MODEL__WEIGHTS="clip://RN50"))
    assert not (tmp_path / "out/provenance.json").exists()


def test_a_models_file_is_evaluated_by_the_config_inside(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = make_data(tmp_path / "data")
    cfg = tiny_cfg("MODEL.CLASS_NAMES", ["class 0", "class 1", "class 2"], "DATASETS.TEST", (f"folder:{data}/val",))
    file = write_checkpoint(tmp_path / "trained", cfg)
    options = ["MODEL.WEIGHTS", str(tmp_path / "alone.safetensors"), "OUTPUT_DIR", str(tmp_path / "out")]
    convert(["model", str(file), options[1]])
    args = parse_args(options, eval_only=True)
    found = setup(args)
    assert list(found.MODEL.CLASS_NAMES) == ["class 0", "class 1", "class 2"] and options[1] == found.MODEL.WEIGHTS
    with pytest.raises(ConfigError, match="There is no --config-file, and MODEL.WEIGHTS .* holds no config"):
        setup(parse_args(["MODEL.WEIGHTS", str(file)], eval_only=True))
    with pytest.raises(SystemExit):
        parse_args(options)  # a training needs a config file
    assert "--config-file is missing" in capsys.readouterr().err
    for dangling in (["MODEL.WEIGHTS"], ["OUTPUT_DIR", "out", "MODEL.WEIGHTS"]):  # a key without its value
        with pytest.raises(SystemExit):
            parse_args(dangling, eval_only=True)
        assert "--config-file is missing" in capsys.readouterr().err
