"""ICPC as a whole: gradients, the frozen text encoder, any size, the contract of `SemanticSegmentor`, errors."""

from collections.abc import Callable

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn

from tests.support.models import TINY_VIT, make_batch, make_cfg

PROMPTS = ("template", "coop", "instance", "cocoop", "icpc")


@pytest.mark.parametrize("multi_scale", [True, False])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_every_trainable_parameter_gets_a_gradient(build_tiny: Callable, prompt: str, multi_scale: bool) -> None:
    model = build_tiny("MODEL.PROMPT.NAME", prompt, "MODEL.ALIGNMENT.MULTI_SCALE", multi_scale)
    losses = model(make_batch((64, 96), (64, 96)))
    assert set(losses) == {"loss_sem_seg", "loss_align", "loss_contrast"}
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing


@pytest.mark.parametrize("labels", ["ignored", "one class"])
def test_batches_without_a_contrastive_pair_train(build_tiny: Callable, labels: str) -> None:
    model = build_tiny()
    batch = make_batch((64, 64))
    batch[0]["sem_seg"].fill_(255 if labels == "ignored" else 2)
    losses = model(batch)
    assert losses["loss_contrast"] == 0
    if labels == "ignored":
        assert losses["loss_sem_seg"] == 0 and losses["loss_align"] == 0
    sum(losses.values()).backward()
    trainable = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in trainable.values())


def test_text_encoder_is_bit_identical_after_training(build_tiny: Callable) -> None:
    model = build_tiny()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        sum(model(make_batch((64, 64), (64, 64))).values()).backward()
        optimizer.step()
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("text_encoder."))
    for name in (
        "prompt.vectors",
        "prompt.projector.0.weight",
        "context_decoder.scale",
        "alignment.up_8_to_4.0.weight",
    ):
        assert not torch.equal(before[name], after[name]), name


@pytest.mark.parametrize("options", [(), TINY_VIT])
@pytest.mark.parametrize("sizes", [[(97, 131)], [(512, 683)], [(64, 80), (97, 50)]])
def test_any_size_trains_and_predicts(build_tiny: Callable, options: tuple, sizes: list[tuple[int, int]]) -> None:
    model = build_tiny(*options)
    batch = make_batch(*sizes)
    assert all(loss.isfinite() for loss in model(batch).values())
    model.eval()
    with torch.no_grad():
        results = model(batch)
    assert [tuple(result["sem_seg"].shape) for result in results] == [(6, *size) for size in sizes]


def test_predictions_come_at_the_size_asked_for(build_tiny: Callable) -> None:
    model = build_tiny().eval()
    inputs = {**make_batch((64, 96))[0], "height": 50, "width": 33}
    with torch.no_grad():
        assert model([inputs])[0]["sem_seg"].shape == (6, 50, 33)


def test_prediction_from_the_alignment_is_the_score_map(build_tiny: Callable) -> None:
    """Table 11."""
    model = build_tiny("MODEL.PREDICT_FROM", "alignment").eval()
    batch = make_batch((64, 96))
    with torch.no_grad():
        images = model.preprocess_image(batch)
        scores = model.encode(images.tensor)[1]["res5"]
        wanted = nn.functional.interpolate(scores / 0.07, size=(64, 96), mode="bilinear", align_corners=False)
        torch.testing.assert_close(model(batch)[0]["sem_seg"], wanted[0])


def test_losses_on_several_scales_are_their_mean(build_tiny: Callable) -> None:
    batch = make_batch((64, 96))
    losses = {}
    for scales in (["res5"], ["res3"], ["res5", "res3"]):
        torch.manual_seed(0)
        model = build_tiny("MODEL.ALIGNMENT.LOSS_SCALES", scales)
        torch.manual_seed(1)
        losses[tuple(scales)] = model(batch)["loss_align"]
    mean = (losses[("res5",)] + losses[("res3",)]) / 2
    torch.testing.assert_close(losses[("res5", "res3")], mean)


def test_weights_of_the_losses(build_tiny: Callable) -> None:
    batch = make_batch((64, 96))

    def losses(*options: object) -> dict:
        torch.manual_seed(0)
        model = build_tiny(*options).eval()  # no dropout, batch statistics or drop path between the two
        torch.manual_seed(1)
        labels = model.preprocess_labels(batch)
        model.sem_seg_head.training = True
        return model.losses(model.encode(model.preprocess_image(batch).tensor), labels)

    base = losses("MODEL.ALIGNMENT.LOSS_WEIGHT", 0.4, "MODEL.CONTRASTIVE.LOSS_WEIGHT", 0.5)
    double = losses("MODEL.ALIGNMENT.LOSS_WEIGHT", 0.8, "MODEL.CONTRASTIVE.LOSS_WEIGHT", 1.0)
    torch.testing.assert_close(double["loss_align"], 2 * base["loss_align"])
    torch.testing.assert_close(double["loss_contrast"], 2 * base["loss_contrast"])
    torch.testing.assert_close(double["loss_sem_seg"], base["loss_sem_seg"])
    assert "loss_contrast" not in losses("MODEL.CONTRASTIVE.LOSS_WEIGHT", 0.0)


def test_progress_is_the_trainers(build_tiny: Callable) -> None:
    model = build_tiny("SOLVER.MAX_ITER", 200)
    assert model.progress() == 0
    with EventStorage(start_iter=50):
        assert model.progress() == 0.25


def test_16_bit_ignore_value_is_ignored(build_tiny: Callable) -> None:
    model = build_tiny()
    batch = make_batch((64, 64))
    batch[0]["sem_seg"][:32] = 65535
    assert (model.preprocess_labels(batch)[0, :32] == 255).all()
    assert all(loss.isfinite() for loss in model(batch).values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("MODEL.PROMPT.NAME", "coco"), "MODEL.PROMPT.NAME is 'coco'"),
        (("MODEL.PREDICT_FROM", "text"), "MODEL.PREDICT_FROM"),
        (("MODEL.ALIGNMENT.MULTI_SCALE", False, "MODEL.ALIGNMENT.LOSS_SCALES", ["res2"]), "LOSS_SCALES"),
        (("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 7), "NUM_CLASSES is 7.*6 class names"),
        (("MODEL.CLASS_NAMES", [], "DATASETS.TRAIN", ()), "no class names"),
        (("MODEL.CLIP.OUT_FEATURES", ["res2", "res3", "res4", "res5"]), "global_embed"),
        ((*TINY_VIT[:3], "tiny-ViT", "MODEL.CLIP.VIT_BLOCKS", [1, 2]), "VIT_BLOCKS"),
    ],
)
def test_configs_that_cannot_work_name_their_key(options: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(make_cfg("quickstart/icpc_tiny.yaml", *options))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "millions"),
    [
        ("ade20k/clip_fpn_R50.yaml", 31.0),
        ("ade20k/denseclip_R50.yaml", 50.3),
        ("ade20k/denseclip_R101.yaml", 67.8),
        ("ade20k/denseclip_ViTB.yaml", 105.3),
    ],
)
def test_parameters_without_text_are_the_published(config: str, millions: float) -> None:
    names = [f"class {index}" for index in range(150)]
    model = build_model(make_cfg(config, "MODEL.CLASS_NAMES", names))
    count = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("text_encoder."))
    assert count / 1e6 == pytest.approx(millions, rel=0.005)
