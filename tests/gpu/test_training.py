"""Trainings on the device: precisions, layouts, compiled parts, resuming, losses that are not finite, the Predictor."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from torch import Tensor, nn

from icpc_d2 import Predictor
from icpc_d2.engine import Trainer
from icpc_d2.engine.parallel import prepare
from tests.support.models import make_batch, make_cfg
from tests.support.training import make_data, make_trainer, train

WINDOW = ("TEST.SLIDING_WINDOW.ENABLED", True, "TEST.SLIDING_WINDOW.SIZE", 64, "TEST.SLIDING_WINDOW.STRIDE", 48)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


def losses_of(trainer: Trainer) -> list[float]:
    """Train, and return the sum of the losses of each iteration."""
    totals: list[float] = []
    trainer._trainer.model.register_forward_hook(
        lambda module, _, losses: totals.append(sum(map(float, losses.values()))) if module.training else None
    )
    trainer.train()
    return totals


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_mixed_precision_and_layout(
    data: Path, tmp_path: Path, device: str, precision: str, channels_last: bool, logs_as_before: None
) -> None:
    common = {"MODEL__DEVICE": device, "TEST__EVAL_PERIOD": 0}
    wanted = losses_of(make_trainer(data, tmp_path / "float32", **common))
    amp = {"SOLVER__AMP__ENABLED": True, "SOLVER__AMP__PRECISION": precision, "MODEL__CHANNELS_LAST": channels_last}
    trainer = make_trainer(data, tmp_path / "half", **common, **amp)
    found = losses_of(trainer)
    assert np.allclose(found[0], wanted[0], rtol=0.05), "the same weights, another precision"
    assert np.isfinite(found).all() and len(found) == len(wanted)
    scaler = trainer._trainer.grad_scaler
    assert scaler.is_enabled() == (precision == "float16" and device != "cpu")
    saved = torch.load(tmp_path / "half" / "model_final.pth", weights_only=True)["trainer"]["_trainer"]
    assert ("grad_scaler" in saved) == scaler.is_enabled()


def run_model(device: str, *options: Any) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Losses, and the logits of two images, of a tiny model."""
    cfg = make_cfg("quickstart/icpc_tiny.yaml", *WINDOW, *options)
    cfg.MODEL.DEVICE = device
    torch.manual_seed(0)
    model = prepare(cfg, build_model(cfg))
    torch.manual_seed(1)
    losses = model.train()(make_batch((64, 96), (64, 96)))
    sum(losses.values()).backward()
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
    batch = make_batch((150, 200))
    with torch.no_grad():
        logits = [model(batch)[0]["sem_seg"] for _ in range(2)]
        nn.init.ones_(model.sem_seg_head.predictor[1].bias)
        changed = model(batch)[0]["sem_seg"]
    torch.testing.assert_close(*logits)
    return losses, [logits[0].clone(), changed]


@pytest.mark.parametrize(
    "parts", [["neck", "sem_seg_head"], ["text_encoder", "context_decoder", "alignment"], ["predict"]]
)
def test_compiled_parts(device: str, parts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same logits, also when a weight has changed; `predict` is a CUDA graph."""
    options = ("MODEL.SEM_SEG_HEAD.DROPOUT", 0.0, "MODEL.CONTEXT_DECODER.DROPOUT", 0.0)
    losses, logits = run_model(device, *options)
    if device == "cpu":  # turning graphs into C++ takes minutes
        compile_ = torch.compile
        monkeypatch.setattr(torch, "compile", lambda f, mode=None, **kw: compile_(f, backend="eager", **kw))
    found, found_logits = run_model(device, *options, "MODEL.COMPILE", parts)
    for name in ("loss_sem_seg", "loss_align"):
        torch.testing.assert_close(found[name], losses[name], rtol=1e-3, atol=1e-4)
    for ours, plain in zip(found_logits, logits, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-3 * plain.abs().max().item())
    assert not torch.allclose(found_logits[0], found_logits[1])


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_resumed_training_ends_as_one_that_was_not_ended(
    data: Path, tmp_path: Path, device: str, precision: str, logs_as_before: None
) -> None:
    options: dict[str, Any] = {"MODEL__DEVICE": device, "SOLVER__AMP__ENABLED": precision == "float16"}
    train(data, tmp_path / "whole", **options)
    output = tmp_path / "resumed"
    output.mkdir()
    shutil.copy(tmp_path / "whole" / "model_0000003.pth", output)
    (output / "last_checkpoint").write_text("model_0000003.pth")
    trainer = train(data, output, resume=True, **options)
    assert trainer.start_iter == 4
    wanted, found = (torch.load(tmp_path / n / "model_final.pth", weights_only=True) for n in ("whole", "resumed"))
    assert found["iteration"] == wanted["iteration"]
    # Atomic additions on a GPU come in any order.
    tolerance = {"rtol": 0, "atol": 0} if device == "cpu" else {"rtol": 2e-2, "atol": 2e-2}
    for name, value in wanted["model"].items():
        torch.testing.assert_close(found["model"][name], value, **tolerance)
    assert found["trainer"]["_trainer"].keys() == wanted["trainer"]["_trainer"].keys()


def spoil(trainer: Trainer, iteration: int) -> None:
    """Make one of the losses NaN in this iteration."""
    step = trainer._trainer

    def replace(module: nn.Module, inputs: Any, losses: dict[str, Tensor]) -> dict[str, Tensor] | None:
        if not module.training or step.iter != iteration:
            return None
        return losses | {"loss_align": losses["loss_align"] * math.nan}

    step.model.register_forward_hook(replace, prepend=True)


@pytest.mark.parametrize("amp", [False, True])
def test_losses_that_are_not_finite(data: Path, tmp_path: Path, device: str, amp: bool, logs_as_before: None) -> None:
    options: dict[str, Any] = {"MODEL__DEVICE": device, "SOLVER__AMP__ENABLED": amp, "TEST__EVAL_PERIOD": 0}
    trainer = make_trainer(data, tmp_path / "ended", **options)
    spoil(trainer, 3)
    with pytest.raises(FloatingPointError, match=r"Iteration 3: .*loss_align is nan"):
        trainer.train()
    trainer = make_trainer(data, tmp_path / "skipped", SOLVER__SKIP_NON_FINITE=1, **options)
    spoil(trainer, 3)
    trainer.train()
    assert all(value.isfinite().all() for value in trainer._trainer.model.state_dict().values())


def test_predictor_gives_what_it_gives_on_the_cpu(
    data: Path, tmp_path: Path, device: str, logs_as_before: None
) -> None:
    train(data, tmp_path / "out", MODEL__DEVICE=device)
    image = next((data / "images" / "val").iterdir())
    predictors = [Predictor(tmp_path / "out" / "model_final.pth", place) for place in ("cpu", device)]
    assert predictors[1].device.type == device
    for arguments in ({}, {"classes": ["sky", "a red car", "everything else"]}):
        wanted, found = (predictor(image, **arguments) for predictor in predictors)
        assert (wanted.labels == found.labels).mean() > 0.99
        first = found.classes[0]
        np.testing.assert_allclose(found.probability(first), wanted.probability(first), atol=1e-3)
