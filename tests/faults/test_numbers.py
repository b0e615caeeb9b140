"""Losses that go wrong are told with their cause and never used; on odd batches they stay finite."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.modeling import build_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from icpc_d2.data.dataset_mapper import SemSegDatasetMapper
from icpc_d2.engine import Trainer
from tests.support.models import NAMES, make_cfg
from tests.support.training import end_state, make_data, make_trainer

NAN = float("nan")


def spoil(trainer: Trainer, *iterations: int, value: float = NAN) -> None:
    """Make one of the losses this value in these iterations, and what BatchNorm has seen, too."""
    step = trainer._trainer

    def replace(module: nn.Module, inputs: Any, losses: dict[str, Tensor]) -> dict[str, Tensor] | None:
        if not module.training or step.iter not in iterations:
            return None
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.data.fill_(value)
        return losses | {"loss_align": losses["loss_align"] * value}

    step.model.register_forward_hook(replace, prepend=True)


@pytest.mark.parametrize("value", [NAN, math.inf])
def test_a_loss_that_is_not_finite_ends_the_training_and_is_explained(data: Path, tmp_path: Path, value: float) -> None:
    trainer = make_trainer(data, tmp_path)
    spoil(trainer, 3, value=value)
    with pytest.raises(FloatingPointError) as error:
        trainer.train()
    message = str(error.value)
    assert message.startswith("Iteration 3: ")
    assert f"loss_align is {value:g}" in message
    assert "learning rate 0.00" in message
    assert "SOLVER.BASE_LR, set SOLVER.CLIP_GRADIENTS.ENABLED" in message
    assert "SOLVER.SKIP_NON_FINITE n (now 0)" in message
    saved = torch.load(tmp_path / "non_finite" / "iteration_0000003_process_0.pth", weights_only=True)
    assert saved["iteration"] == 3
    assert set(saved["losses"][0]) == {"loss_sem_seg", "loss_align", "loss_contrast"}
    assert [sample["image"].shape for sample in saved["batches"][0]] == [(3, 32, 32)] * 2
    for sample in saved["batches"][0]:
        assert sample["file_name"] in message
    names = {path.name for path in tmp_path.glob("*.pth")}
    assert names == {"model_0000001.pth"}, "what the batch has spoilt is not saved"


def test_some_such_batches_may_be_left_out(data: Path, tmp_path: Path) -> None:
    trainer = make_trainer(data, tmp_path, SOLVER__SKIP_NON_FINITE=2)
    spoil(trainer, 3, 6)
    before: dict[int, dict[str, Tensor]] = {}

    def keep(module: nn.Module, inputs: Any) -> None:
        if module.training:
            before[trainer._trainer.iter] = {name: value.clone() for name, value in module.state_dict().items()}

    trainer._trainer.model.register_forward_pre_hook(keep)
    trainer.train()
    for name, value in before[4].items():
        assert torch.equal(value, before[3][name]), f"{name} has changed in an iteration that was left out"
    assert any(not torch.equal(value, before[4][name]) for name, value in before[5].items())
    final = end_state(tmp_path)["final"]
    assert all(value.isfinite().all() for value in final["model"].values())
    assert final["trainer"]["_trainer"]["hooks"]["NonFiniteLosses"] == {"num_skipped": 2}
    assert "Left out, number 2 of at most 2." in (tmp_path / "log.txt").read_text()
    assert len(list((tmp_path / "non_finite").iterdir())) == 2


def test_one_more_ends_the_training_also_after_a_resume(data: Path, tmp_path: Path) -> None:
    trainer = make_trainer(data, tmp_path, SOLVER__SKIP_NON_FINITE=1)
    spoil(trainer, 1, 5)
    with pytest.raises(FloatingPointError, match=r"Iteration 5: .*\(now 1\)"):
        trainer.train()
    trainer = make_trainer(data, tmp_path, resume=True, SOLVER__SKIP_NON_FINITE=1)
    assert trainer.start_iter == 4
    spoil(trainer, 4)
    with pytest.raises(FloatingPointError, match=r"Iteration 4: .*\(now 1\)"):
        trainer.train()


def test_an_image_with_nan_is_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = SemSegDatasetMapper.__call__

    def read_nan(mapper: SemSegDatasetMapper, sample: dict[str, Any]) -> dict[str, Any]:
        mapped = read(mapper, sample)
        if sample["file_name"].endswith("2.png"):
            mapped["image"] = torch.full_like(mapped["image"], NAN, dtype=torch.float32)
        return mapped

    monkeypatch.setattr(SemSegDatasetMapper, "__call__", read_nan)
    with pytest.raises(FloatingPointError, match=r"loss_sem_seg is nan.*images .*train/2\.png"):
        make_trainer(data, tmp_path).train()


def test_gradients_can_be_clipped_by_their_norm(data: Path, tmp_path: Path) -> None:
    norms: list[float] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        norms.extend(float(p.grad.norm()) for group in optimizer.param_groups for p in group["params"])

    clip = {"SOLVER__CLIP_GRADIENTS__ENABLED": True, "SOLVER__CLIP_GRADIENTS__CLIP_TYPE": "norm"}
    trainer = make_trainer(data, tmp_path, SOLVER__MAX_ITER=1, SOLVER__CLIP_GRADIENTS__CLIP_VALUE=1e-3, **clip)
    trainer.optimizer.register_step_post_hook(note)
    trainer.train()
    assert max(norms) == pytest.approx(1e-3, rel=1e-3)


def test_weights_that_went_wrong_are_not_saved_over_those_that_did_not(data: Path, tmp_path: Path) -> None:
    trainer = make_trainer(data, tmp_path, SOLVER__CHECKPOINTS_KEPT=1)
    parameter = next(iter(trainer.optimizer.param_groups[0]["params"]))

    def ruin(*_: Any) -> None:
        if trainer.iter == 3:
            parameter.data.fill_(NAN)

    trainer.optimizer.register_step_post_hook(ruin)
    with pytest.raises(FloatingPointError, match=r"model_0000003\.pth is not written.*Earlier checkpoints are whole"):
        trainer.train()
    assert {path.name for path in tmp_path.glob("*.pth")} == {"model_0000001.pth"}


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    return build_model(make_cfg()).train()


LABELS = st.sampled_from(["ignored", "one class", "one pixel", "last class and ignored", "any"])
PIXELS = st.sampled_from(["black", "white", "any"])


def odd_sample(labels: str, pixels: str, height: int, width: int) -> dict[str, Tensor]:
    label = torch.full((height, width), 255)
    if labels == "one class":
        label.fill_(1)
    elif labels == "one pixel":
        label[height // 2, width // 2] = 2
    elif labels == "last class and ignored":
        label[: height // 2] = len(NAMES) - 1
    elif labels == "any":
        label = torch.randint(len(NAMES), (height, width))
    image = torch.randint(256, (3, height, width), dtype=torch.uint8)
    if pixels != "any":
        image.fill_(255 if pixels == "white" else 0)
    return {"image": image, "sem_seg": label}


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(samples=st.lists(st.tuples(LABELS, PIXELS, st.integers(1, 70), st.integers(1, 70)), min_size=2, max_size=3))
def test_losses_are_finite_on_odd_batches(tiny: nn.Module, samples: list[tuple[str, str, int, int]]) -> None:
    losses = tiny([odd_sample(*sample) for sample in samples])
    assert all(loss.isfinite() for loss in losses.values()), losses
    tiny.zero_grad()
    sum(losses.values()).backward()
    gradients = {name: p.grad for name, p in tiny.named_parameters() if p.grad is not None}
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_a_training_on_nothing_but_ignored_pixels_ends_finite(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    trainer = make_trainer(data, tmp_path / "output", SOLVER__MAX_ITER=2, INPUT__CROP__SINGLE_CATEGORY_MAX_AREA=1.0)
    # Behind the look at the labels that would refuse it; batches and crops of large sets may be so at any time.
    for file in (data / "labels" / "train").iterdir():
        Image.new("L", (50, 40), 255).save(file)
    trainer.train()
    final = torch.load(tmp_path / "output" / "model_final.pth", weights_only=True)
    assert all(value.isfinite().all() for value in final["model"].values())
