"""`icpc pretrain`: steps that are remade by hand, resumed to the same bits, cached, evaluated, packed and loaded."""

import json
from argparse import Namespace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.engine import defaults
from detectron2.modeling import build_model

from icpc_d2.checkpoint import ICPCCheckpointer
from icpc_d2.checkpoint.clip_weights import read_weights
from icpc_d2.config import load_config
from icpc_d2.config.load import ConfigError
from icpc_d2.data.captioned_pictures import CaptionedPictures
from icpc_d2.data.scenes.archive import DrawnScenes, archived
from icpc_d2.data.scenes.styles import restyle
from icpc_d2.tools.pretrain.command import main, parse_args, pretrain
from icpc_d2.tools.pretrain.settings import check_settings, read_settings
from icpc_d2.tools.pretrain.trainer import PretrainTrainer, build_scenes
from tests.support.configs import CONFIGS
from tests.support.models import TINY_VIT, make_cfg
from tests.support.pretraining import FEW_SCENES
from tests.support.results import read_results
from tests.support.training import difference

VIT, RESNET = (str(CONFIGS / f"pretrain/tiny_{name}.yaml") for name in ("ViT", "RN"))
pytestmark = pytest.mark.usefixtures("logs_as_before")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(autouse=True)
def _no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that Detectron2 starts to ask about compilers, a second each time."""
    monkeypatch.setattr(defaults, "collect_env_info", lambda: "")


def arguments(output: Path, cache: Path, *flags: str, config: str = VIT, **changes: object) -> list[str]:
    keys = FEW_SCENES | {"OUTPUT_DIR": output, "PRETRAIN.CACHE": cache}
    keys |= {key.replace("__", "."): value for key, value in changes.items()}
    return ["--config-file", config, *flags, *(str(word) for pair in keys.items() for word in pair)]


def final(output: Path) -> dict:
    return torch.load(output / "model_final.pth", weights_only=True)


@pytest.fixture(scope="module")
def trained(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short training, with its packed weights and their card."""
    output = tmp_path_factory.mktemp("trained")
    main(arguments(output, cache, "--pack", str(output / "tiny-ViT.safetensors")))
    return output


def test_steps_are_those_of_a_plain_loop(trained: Path, cache: Path, tmp_path: Path) -> None:
    cfg = read_settings(parse_args(arguments(tmp_path, cache)))
    torch.manual_seed(cfg.SEED)
    pictures = CaptionedPictures(build_scenes(cfg, "train"), (32, 64), cfg.PRETRAIN.MIN_CROP, 3, cfg.SEED)
    generator = torch.Generator().manual_seed(cfg.SEED)
    order = [int(index) for _ in range(2) for index in torch.randperm(8, generator=generator)]
    draws = [pictures[index, number] for number, index in enumerate(order)]
    assert {index for index in order[:8]} == set(range(8))

    loader = iter(PretrainTrainer.build_train_loader(cfg))
    for start in range(0, 16, 4):
        (batch,) = next(loader)
        wanted = draws[start : start + 4]
        assert torch.equal(batch["images"], torch.stack([draw["image"] for draw in wanted]))
        rows = [row[: int(row.argmax()) + 1] for row in batch["tokens"]]
        assert all(torch.equal(row, draw["tokens"]) for row, draw in zip(rows, wanted, strict=True))


def test_the_loss_falls(cache: Path, tmp_path: Path) -> None:
    """On four pictures again and again, it falls below that of a guess."""
    options = {
        "SOLVER.BASE_LR": 3e-3,
        "SOLVER.MAX_ITER": 120,
        "SOLVER.CHECKPOINT_PERIOD": 120,
        "PRETRAIN.MIN_CROP": 1.0,
    }
    options |= {"SOLVER.WEIGHT_DECAY": 0.0, "PRETRAIN.NUM_SCENES": 4, "PRETRAIN.NUM_VAL_SCENES": 0}
    trainer = PretrainTrainer(read_settings(parse_args(arguments(tmp_path, cache, **options))))
    trainer.train()
    cfg = load_config(VIT, [*arguments(tmp_path, cache, **options)[2:], "SEED", "9"])
    batches = islice(PretrainTrainer.build_train_loader(cfg), 8)
    with torch.no_grad():
        losses = [trainer.model.eval()(batch)["loss_clip"].item() for batch in batches]
    assert np.mean(losses) < 0.85 * np.log(4)


def test_a_training_that_was_ended_goes_on_to_the_same_bits(trained: Path, cache: Path, tmp_path: Path) -> None:
    trainer = PretrainTrainer(read_settings(parse_args(arguments(tmp_path, cache))))
    trainer.resume_or_load(resume=False)
    trainer.max_iter = 2  # as far as a checkpoint
    trainer.train()
    (tmp_path / "model_final.pth").unlink()
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    pretrain(parse_args(arguments(tmp_path, cache, "--resume")))
    found, wanted = final(tmp_path), final(trained)
    assert difference(found["model"], wanted["model"]) == "" and found["iteration"] == 3
    assert difference(found["trainer"]["_trainer"]["optimizer"], wanted["trainer"]["_trainer"]["optimizer"]) == ""


def test_all_parameters_train_in_the_resnet(cache: Path, tmp_path: Path) -> None:
    cfg = read_settings(parse_args(arguments(tmp_path, cache, config=RESNET)))
    trainer = PretrainTrainer(cfg)
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    trainer.resume_or_load(resume=False)
    trainer.train()
    same = [name for name, value in trainer.model.named_parameters() if torch.equal(value, before[name])]
    assert same == []
    scale = trainer.model.logit_scale
    (group,) = [group for group in trainer.optimizer.param_groups if any(p is scale for p in group["params"])]
    assert group["weight_decay"] == 0


def test_a_card_without_figures_is_refused_before_the_training(cache: Path, tmp_path: Path) -> None:
    words = arguments(tmp_path, cache, "--pack", str(tmp_path / "a.safetensors"), PRETRAIN__NUM_VAL_SCENES=0)
    with pytest.raises(SystemExit, match="PRETRAIN.NUM_VAL_SCENES is 0, wanted 1 or more"):
        pretrain(parse_args(words))
    assert not list(tmp_path.iterdir())


def test_figures_are_written(trained: Path) -> None:
    figures = read_results(trained)["scenes/zero_shot"]
    assert {"mAP", "mAP_chance", "R@1_captions", "R@5_images", "mIoU"} <= figures.keys()
    assert all(0 <= value <= 100 for value in figures.values())


def test_packed_weights_are_the_final_ones(trained: Path) -> None:
    packed, wanted = read_weights(str(trained / "tiny-ViT.safetensors")), final(trained)["model"]
    assert packed["quick_gelu"] is True
    for name in wanted.keys() - {"token_embedding.weight"}:
        torch.testing.assert_close(packed["model"][name], wanted[name], atol=1e-6, rtol=1e-3)
    card = (trained / "tiny-ViT.md").read_text()
    assert "`MODEL.WEIGHTS clip://tiny-ViT`" in card and "4 iterations" in card and "| mIoU |" in card
    assert "different colours: 1; close-ups of each drawing: 0." in card


def test_other_models_start_from_them(trained: Path) -> None:
    model = build_model(make_cfg("quickstart/icpc_tiny.yaml", *TINY_VIT))
    ICPCCheckpointer(model).load(str(trained / "model_final.pth"), checkpointables=[])
    wanted, found = final(trained)["model"], model.state_dict()
    assert torch.equal(found["backbone.visual.proj"], wanted["visual.proj"])
    assert torch.equal(found["text_encoder.token_embedding.weight"], wanted["token_embedding.weight"])


def test_evaluation_alone_gives_the_figures_of_the_training(trained: Path, cache: Path, tmp_path: Path) -> None:
    weights = trained / "model_final.pth"
    figures = pretrain(parse_args(arguments(tmp_path, cache, "--eval-only", MODEL__WEIGHTS=weights)))["zero_shot"]
    assert figures == pytest.approx(read_results(trained)["scenes/zero_shot"])


def test_drawn_and_cached_scenes_are_the_same(cache: Path, trained: Path) -> None:
    drawn = DrawnScenes("train", 8, tuple(load_config(VIT).PRETRAIN.STYLES))
    read = archived(drawn, cache, 0)
    for index in (0, 5):
        assert np.array_equal(read[index].image, drawn[index].image) and read[index][2:] == drawn[index][2:]
        assert np.array_equal(read[index].label, drawn[index].label)


def test_a_batch_has_all_paints_of_its_scenes(cache: Path, tmp_path: Path) -> None:
    changes = {"PRETRAIN__PAINTS": 2, "PRETRAIN__NUM_SCENES": 3, "SOLVER__IMS_PER_BATCH": 6}
    cfg = read_settings(parse_args(arguments(tmp_path, cache, **changes)))
    batches = islice(PretrainTrainer.build_train_loader(cfg), 2)
    for batch in batches:
        indices = [int(word) for word in batch[0]["file_name"].removeprefix("scenes ").split(", ")]
        assert sorted(indices) == list(range(6)) and indices[1::2] == [index + 1 for index in indices[::2]]
    one, other = (build_scenes(cfg, "train")[index] for index in (0, 1))
    assert {kind for kind, _ in one.things} == {kind for kind, _ in other.things}
    assert not {tuple(thing) for thing in one.things if thing[1]} & {tuple(thing) for thing in other.things} - {
        ("sky", "blue")
    }


def test_a_batch_that_would_part_paints_is_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"SOLVER.IMS_PER_BATCH is 4; wanted a multiple of PRETRAIN.PAINTS, which is 3"
    ):
        pretrain(parse_args(arguments(tmp_path, cache, PRETRAIN__PAINTS=3, PRETRAIN__NUM_SCENES=2)))


def test_close_ups_are_drawn_cached_and_trained_on(cache: Path, tmp_path: Path) -> None:
    keys = {"PRETRAIN__CLOSE_UPS": 2, "PRETRAIN__PAINTS": 2}
    pretrain(parse_args(arguments(tmp_path, cache, **keys)))
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    losses = [line["loss_mosaic"] for line in lines if "loss_mosaic" in line]
    assert losses and all(0 < loss < 3 * np.log(8) for loss in losses)
    drawn = DrawnScenes("train", 8, tuple(load_config(VIT).PRETRAIN.STYLES), 2, 2)
    read = archived(drawn, cache, 0)
    for one, other in zip(read[5].close_ups, drawn[5].close_ups, strict=True):
        assert np.array_equal(one.image, other.image) and one.captions == other.captions
    assert drawn[4].close_ups[0].captions != drawn[5].close_ups[0].captions


def test_close_ups_that_fill_no_mosaic_are_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"PRETRAIN.CLOSE_UPS is 1 and SOLVER.IMS_PER_BATCH 6; wanted is a product"):
        pretrain(parse_args(arguments(tmp_path, cache, PRETRAIN__CLOSE_UPS=1, SOLVER__IMS_PER_BATCH=6)))


def test_a_cache_of_other_pictures_is_refused(
    cache: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = DrawnScenes("train", 8, tuple(load_config(VIT).PRETRAIN.STYLES))
    monkeypatch.setattr("icpc_d2.data.scenes.archive.SEEDS", {"train": 5})
    with pytest.raises(ValueError, match="other scenes than are drawn today: remove it"):
        archived(drawn, cache, 0)
    with pytest.raises(SystemExit, match=r"error: .* remove it, and they are drawn again"):
        pretrain(parse_args(arguments(tmp_path, cache)))


def test_a_cache_of_one_style_drawn_otherwise_is_refused(
    cache: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def restyle_darker(rng: np.random.Generator, image: np.ndarray, *more: object) -> np.ndarray:
        return restyle(rng, image, *more) * np.float32(0.5 if more[-1] == "snow" else 1)

    monkeypatch.setattr("icpc_d2.data.scenes.captioned.restyle", restyle_darker)
    with pytest.raises(ValueError, match="other scenes than are drawn today"):
        archived(DrawnScenes("train", 8, tuple(load_config(VIT).PRETRAIN.STYLES)), cache, 0)


def test_a_failed_drawing_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("icpc_d2.data.scenes.archive.draw_captioned_scene", fail)
    with pytest.raises(OSError, match="disk is full"):
        archived(DrawnScenes("val", 2, ("day",)), tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["PRETRAIN.SIZE", "[16,64]"], r"PRETRAIN.SIZE is \[16, 64\], wanted height and width"),
        (["PRETRAIN.STYLES", '["fog"]'], "PRETRAIN.STYLES"),
        (["PRETRAIN.STYLES", "[]"], "PRETRAIN.STYLES"),
        (["PRETRAIN.NUM_SCENES", "0"], "PRETRAIN.NUM_SCENES is 0"),
        (["PRETRAIN.NUM_VAL_SCENES", "-1"], "PRETRAIN.NUM_VAL_SCENES is -1"),
        (["PRETRAIN.PAINTS", "0"], "PRETRAIN.PAINTS is 0"),
        (["PRETRAIN.CLOSE_UPS", "-1"], "PRETRAIN.CLOSE_UPS is -1"),
        (["PRETRAIN.MIN_CROP", "0.0"], "PRETRAIN.MIN_CROP is 0.0"),
        (["PRETRAIN.MAX_SENTENCES", "0"], "PRETRAIN.MAX_SENTENCES is 0"),
        (["PRETRAIN.TEMPERATURE", "2.0"], "PRETRAIN.TEMPERATURE is 2.0"),
        (["MODEL.PROMPT.NUM_CONTEXT", "4"], "MODEL.PROMPT.NUM_CONTEXT is 4, but a pretraining does not read it"),
        (["SOLVER.ACCUMULATE", "2"], "SOLVER.ACCUMULATE is 2, but a pretraining does not read it"),
        (["MODEL.BACKBONE.FREEZE_AT", "2"], "all of CLIP trains"),
        (["INPUT.FORMAT", "BGR"], "wanted 'RGB'"),
        (["MODEL.CLIP.OUT_FEATURES", '["res2"]'], "MODEL.CLIP.OUT_FEATURES"),
        (["MODEL.META_ARCHITECTURE", "ICPC"], "wanted 'ContrastiveCLIP'"),
        (["SOLVER.MAX_ITER", "0"], "SOLVER.MAX_ITER is 0"),
    ],
)
def test_wrong_settings_are_refused(changes: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_settings(load_config(RESNET, changes))


@pytest.mark.parametrize("config", [VIT, RESNET])
def test_configs_are_right(config: str) -> None:
    check_settings(load_config(config))


def test_segmentation_configs_are_refused(capsys: pytest.CaptureFixture) -> None:
    config = str(CONFIGS / "quickstart/icpc_tiny.yaml")
    args = Namespace(config_file=config, opts=[], resume=False, eval_only=False, pack=None)
    with pytest.raises(SystemExit, match="`icpc train` all others"):
        pretrain(args)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--config-file is missing"),
        (["--config-file", VIT, "--pack", "a.pth"], r"ends in .safetensors"),
        (["--config-file", VIT, "--eval-only", "--pack", "a.safetensors"], "not of --eval-only"),
    ],
)
def test_wrong_command_lines_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        parse_args(words)
    assert message in capsys.readouterr().err
