"""A step of the optimizer over a batch in parts, in full and in mixed precision."""

from typing import Any

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from icpc_d2.engine.train_step import TrainStep, buffers_kept
from tests.support.models import SEPARATE, TINY_VIT, make_batch, make_cfg


class Line(nn.Module):
    """One weight, whose loss is the mean of ``weight * x`` over the labelled pixels of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1))
        self.seen: list[torch.dtype] = []

    def forward(self, batch: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        x = torch.cat([sample["x"][sample["sem_seg"] != 255] for sample in batch])
        y = nn.functional.linear(x[:, None], self.weight)
        self.seen.append(y.dtype)
        return {"loss_sem_seg": y.float().mean()}


class ClippedSGD(torch.optim.SGD):
    """Clips as Detectron2's optimizers do: when it steps."""

    def step(self, closure: None = None) -> None:
        nn.utils.clip_grad_value_(self.param_groups[0]["params"], 10.0)
        super().step()


def sample(*x: float, ignored: int = 0) -> dict[str, Tensor]:
    return {"x": torch.tensor([*x, *[1e6] * ignored]), "sem_seg": torch.tensor([0] * len(x) + [255] * ignored)}


def make_step(model: nn.Module, batches: list, lr: float = 1.0, **options: Any) -> TrainStep:
    parameters = [p for p in model.parameters() if p.requires_grad]
    return TrainStep(model, batches, ClippedSGD(parameters, lr=lr), **options)


def run(step: TrainStep, iterations: int = 1) -> TrainStep:
    with EventStorage() as step.storage:
        for step.iter in range(iterations):
            step.run_step()
    return step


def test_each_labelled_pixel_counts_alike() -> None:
    batches = [[sample(1.0, 2.0, 3.0)], [sample(10.0, ignored=4)]]
    assert run(make_step(Line(), batches, accumulate=2)).model.weight.item() == pytest.approx(-16 / 4)


def test_classes_count_by_their_weights() -> None:
    """Of two parts, the mean of the whole batch by torch's definition."""
    step = make_step(Line(), [], accumulate=2, class_weights=[1.0, 10.0])
    labels = [torch.tensor([0, 0, 1, 255]), torch.tensor([0, 65535])]
    step.batches = [[{"sem_seg": label}] for label in labels]
    assert step.pixel_weights().tolist() == pytest.approx([12 * 2 / 13, 1 * 2 / 13])
    step = make_step(Line(), [], accumulate=2, class_weights=[0.0, 0.001])
    step.batches = [[{"sem_seg": label}] for label in labels]
    assert step.pixel_weights().tolist() == [2, 0]


def test_weights_of_batches_without_labels_are_defined() -> None:
    step = make_step(Line(), [], accumulate=2)
    step.batches = [[sample(1.0)], [sample(ignored=2)]]
    assert step.pixel_weights().tolist() == [2, 0]
    step.batches = [[sample(ignored=3)], [sample(ignored=2)]]
    assert step.pixel_weights().tolist() == [0, 0]


def test_losses_that_are_logged_are_those_of_the_whole_batch() -> None:
    model = Line()
    model.weight.data.fill_(2.0)
    step = run(make_step(model, [[sample(1.0, 2.0, 3.0)], [sample(10.0)]], accumulate=2))
    assert step.storage.history("total_loss").latest() == pytest.approx(2 * 16 / 4)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16, None])
def test_precision_is_what_the_model_computes_in(precision: torch.dtype | None) -> None:
    step = run(make_step(Line(), [[sample(0.5, 0.5)]], precision=precision))
    assert step.model.seen == [precision or torch.float32]
    assert step.model.weight.item() == -0.5, "the gradient is not scaled any more"
    assert ("grad_scaler" in step.state_dict()) == (precision == torch.float16)


def test_float16_skips_what_overflows_and_clips_the_gradient_itself() -> None:
    """The scale starts at 2**16, and float16 ends below that."""
    step = run(make_step(Line(), [[sample(15.0, 15.0)]] * 5, precision=torch.float16), iterations=4)
    assert step.model.weight.item() == 0
    assert step.grad_scaler.get_scale() == 2**12
    run(step)
    assert step.model.weight.item() == -10


def test_the_scale_survives_a_resume_also_from_another_precision() -> None:
    step = run(make_step(Line(), [[sample(3.0)]], precision=torch.float16))
    resumed, plain = make_step(Line(), [], precision=torch.float16), make_step(Line(), [])
    resumed.load_state_dict(step.state_dict())
    assert resumed.grad_scaler.get_scale() == step.grad_scaler.get_scale() == 2**15
    plain.load_state_dict(step.state_dict())
    resumed.load_state_dict(plain.state_dict())
    assert resumed.grad_scaler.get_scale() == 2**15


def tiny(*options: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_model(make_cfg("quickstart/icpc_tiny.yaml", *options))


def seeded_batch(count: int) -> list[dict[str, Any]]:
    return [{**inputs, "seed": 10 + index} for index, inputs in enumerate(make_batch(*[(64, 64)] * count))]


def gradients(model: nn.Module, *batches: list[dict[str, Any]], **options: Any) -> dict[str, Tensor]:
    """Of the parameters that train, after a step that leaves them as they are."""
    run(make_step(model, list(batches), lr=0.0, accumulate=len(batches), **options))
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("sizes", [(2, 2), (1, 1, 1, 1)])
@pytest.mark.parametrize(("contrast", "weights"), [(0.1, []), (0.0, []), (0.0, [0.02, 1.0, 5.0, 0.0, 2.0, 9.0])])
def test_gradients_of_parts_are_those_of_the_batch(
    contrast: float, weights: list[float], sizes: tuple[int, ...]
) -> None:
    options = [*SEPARATE, "MODEL.CONTRASTIVE.LOSS_WEIGHT", contrast, "MODEL.CLASS_WEIGHTS", weights]
    batch = seeded_batch(4)
    batch[1]["sem_seg"][:40] = 255
    rest = iter(batch)
    parts = [[next(rest) for _ in range(size)] for size in sizes]
    whole = gradients(tiny(*options), batch, class_weights=weights)
    found = gradients(tiny(*options), *parts, class_weights=weights)
    scale = torch.cat([gradient.flatten() for gradient in whole.values()]).norm().item()
    for name, gradient in whole.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6 * scale, rtol=1e-4)


def test_both_passes_over_a_batch_see_the_same_dropout_and_change_statistics_once() -> None:
    """Each part then computes the same contrastive loss."""
    norm = ["MODEL.SEM_SEG_HEAD.NORM", "BN", "MODEL.CLIP.VIT_NORM", "BN"]
    dropout = ["MODEL.CLIP.VIT_DROP_PATH", 0.5, "MODEL.CONTEXT_DECODER.DROPOUT", 0.5, "MODEL.SEM_SEG_HEAD.DROPOUT", 0.5]
    model = tiny(*SEPARATE, *norm, *dropout)
    found: list[float] = []
    model.alignment_loss.contrastive_loss.register_forward_hook(
        lambda module, inputs, output: found.append(output.item())
    )
    batch = seeded_batch(4)
    gradients(model, batch[:2], batch[2:])
    assert len(found) == 2
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert model.backbone.pyramid["res2"].norm.num_batches_tracked == 2


def test_buffers_are_put_back_after_an_error() -> None:
    norm = nn.BatchNorm1d(3)
    with pytest.raises(RuntimeError), buffers_kept(norm):
        norm(torch.randn(4, 3) + 5)
        raise RuntimeError
    assert norm.num_batches_tracked == 0 and not norm.running_mean.any()


@pytest.mark.parametrize("backbone", [(), TINY_VIT], ids=["resnet", "vit"])
def test_bfloat16_trains_every_parameter_on_the_cpu(backbone: tuple) -> None:
    dropout = ["MODEL.CLIP.VIT_DROP_PATH", 0.0, "MODEL.CONTEXT_DECODER.DROPOUT", 0.0, "MODEL.SEM_SEG_HEAD.DROPOUT", 0.0]
    options = [*backbone, *dropout, "MODEL.CONTRASTIVE.GATHER", True]
    batch = seeded_batch(2)
    full = gradients(tiny(*options), batch)
    half = gradients(tiny(*options), batch, precision=torch.bfloat16)
    for name, gradient in half.items():
        assert gradient is not None and gradient.dtype == torch.float32 and gradient.isfinite().all(), name
    wanted, found = (torch.cat([those[name].flatten() for name in full]) for those in (full, half))
    assert nn.functional.cosine_similarity(found, wanted, dim=0) > 0.97


class Faulty(Line):
    def forward(self, batch: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        raise self.fault


def test_errors_of_a_model_are_raised_as_they_are() -> None:
    """One that came of another keeps its cause."""
    model = Faulty()
    model.fault = ValueError("of its own")
    model.fault.__cause__ = KeyError("a")
    with pytest.raises(ValueError, match="of its own") as raised:
        run(make_step(model, [[sample(1.0)]]))
    assert raised.value is model.fault and isinstance(raised.value.__cause__, KeyError)
