"""The cross-entropy by strips against its plain form, and the memory that it takes."""

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.analysis.timing import peak_growth
from icpc_d2.modeling.fast import strip_loss
from icpc_d2.modeling.fast.strip_loss import strip_pixel_cross_entropy
from icpc_d2.modeling.losses import pixel_cross_entropy

IGNORE = 255


def plain(logits: Tensor, labels: Tensor, ignore_value: int = IGNORE) -> Tensor:
    """The definition, in float64."""
    logits = F.interpolate(logits.double(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(logits, labels, ignore_index=ignore_value)


def make(shape: tuple[int, ...], size: tuple[int, int], ignore_value: int = IGNORE) -> tuple[Tensor, Tensor]:
    """Logits of some confidence, and labels of which a tenth is ignored."""
    labels = torch.randint(shape[1], (shape[0], *size))
    labels[torch.rand(labels.shape) < 0.1] = ignore_value
    labels[0, 0, 0] = 0
    return (5 * torch.randn(shape)).requires_grad_(), labels


def strips_of(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], width: int, rows: int) -> None:
    monkeypatch.setitem(strip_loss.STRIP_BYTES, "cpu", 4 * shape[0] * shape[1] * width * rows)


def assert_equal(logits: Tensor, labels: Tensor, ignore_value: int = IGNORE) -> None:
    found, wanted = strip_pixel_cross_entropy(logits, labels, ignore_value), plain(logits, labels, ignore_value)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted.float(), rtol=1e-5, atol=1e-6)
    (ours,), (theirs,) = torch.autograd.grad(found, logits), torch.autograd.grad(wanted, logits)
    # 1e-7: the probability of a pixel that is nearly sure, less one, is rounded that much.
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm() + 1e-7


@pytest.mark.parametrize("rows", [1, 5, 1000])
@pytest.mark.parametrize(
    ("positions", "size"),
    [((8, 12), (32, 48)), ((2, 3), (64, 96)), ((7, 5), (29, 18)), ((9, 9), (5, 4)), ((1, 1), (6, 7)), ((4, 6), (4, 6))],
    ids=["x4", "x32", "odd", "down", "one position", "same size"],
)
def test_equals_the_plain_form(
    monkeypatch: pytest.MonkeyPatch, positions: tuple[int, int], size: tuple[int, int], rows: int
) -> None:
    shape = (2, 6, *positions)
    strips_of(monkeypatch, shape, size[1], rows)
    assert_equal(*make(shape, size))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_equals_the_plain_form_at_any_size(h: int, w: int, height: int, width: int, rows: int) -> None:
    torch.manual_seed(0)  # so that a failing case fails again
    with pytest.MonkeyPatch.context() as patch:
        strips_of(patch, (1, 3), width, rows)
        assert_equal(*make((1, 3, h, w), (height, width)))


def test_847_classes_with_16_bit_labels() -> None:
    assert_equal(*make((2, 847, 6, 9), (24, 36), 65535), 65535)


@pytest.mark.parametrize("rows", [1, 5, 1000])
@pytest.mark.parametrize("weights", [[1.0, 0.01, 7.0, 0.0, 2.5, 1.0], [1e-4] * 6], ids=["differing", "small"])
def test_class_weights_are_those_of_the_plain_form(
    monkeypatch: pytest.MonkeyPatch, weights: list[float], rows: int
) -> None:
    """And the plain form's are torch's, see test_losses."""
    strips_of(monkeypatch, (2, 6, 8, 12), 45, rows)
    logits, labels = make((2, 6, 8, 12), (29, 45))
    class_weights = torch.tensor(weights)
    found, wanted = (
        form(logits, labels, IGNORE, class_weights) for form in (strip_pixel_cross_entropy, pixel_cross_entropy)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    (ours,), (plains,) = torch.autograd.grad(found, logits), torch.autograd.grad(wanted, logits)
    assert (ours - plains).norm() <= 1e-5 * plains.norm()


def test_class_weights_of_nothing_that_counts_are_zero() -> None:
    logits, labels = torch.randn(1, 3, 4, 4, requires_grad=True), torch.ones(1, 8, 8, dtype=torch.long)
    loss = strip_pixel_cross_entropy(logits, labels, IGNORE, torch.tensor([1.0, 0.0, 1.0]))
    assert loss.item() == 0
    assert torch.autograd.grad(loss, logits)[0].abs().sum() == 0


def test_strips_are_as_small_as_they_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """And still take a row where a single one is too large."""
    sizes = []
    of_strip = strip_loss._strip_loss
    monkeypatch.setattr(strip_loss, "_strip_loss", lambda *args: sizes.append(args[2].shape) or of_strip(*args))
    logits, labels = make((2, 6, 8, 12), (30, 48))
    for rows, wanted in ((12, [12, 12, 6]), (0, [1] * 30)):
        strips_of(monkeypatch, (2, 6), 48, rows)
        strip_pixel_cross_entropy(logits, labels, IGNORE)
        assert [tuple(size) for size in sizes] == [(2, 1, height, 48) for height in wanted]
        sizes.clear()


def test_any_scale_of_the_incoming_gradient() -> None:
    logits, labels = make((2, 5, 4, 6), (16, 24))
    (wanted,) = torch.autograd.grad(plain(logits, labels) ** 2 * 65536, logits)
    (found,) = torch.autograd.grad(strip_pixel_cross_entropy(logits, labels, IGNORE) ** 2 * 65536, logits)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


def test_backward_twice_through_one_graph() -> None:
    logits, labels = make((1, 5, 4, 6), (16, 24))
    loss = strip_pixel_cross_entropy(logits, labels, IGNORE)
    first, second = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("with_gradient", [True, False])
def test_nothing_labelled_is_zero(with_gradient: bool) -> None:
    logits = torch.randn(1, 5, 4, 4, requires_grad=with_gradient)
    loss = strip_pixel_cross_entropy(logits, torch.full((1, 8, 8), IGNORE), IGNORE)
    assert loss.item() == 0
    assert loss.requires_grad == with_gradient
    if with_gradient:
        assert torch.autograd.grad(loss, logits)[0].abs().sum() == 0


def test_confident_logits_do_not_overflow() -> None:
    logits, labels = make((1, 5, 4, 4), (16, 16))
    assert_equal((logits * 1e4).detach().requires_grad_(), labels)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits, labels = make((2, 5, 4, 6), (16, 24))
    logits = logits.detach().to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype):
        loss = strip_pixel_cross_entropy(logits, labels, IGNORE)
    wanted = plain(logits, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, wanted.float(), rtol=1e-6, atol=1e-6)
    (found,), (wanted,) = torch.autograd.grad(loss, logits), torch.autograd.grad(wanted, logits)
    assert found.dtype == dtype
    torch.testing.assert_close(found, wanted.to(dtype), rtol=1e-2, atol=1e-6)


def test_no_gradient_no_graph() -> None:
    logits, labels = make((2, 5, 4, 6), (16, 24))
    with torch.no_grad():
        loss = strip_pixel_cross_entropy(logits, labels, IGNORE)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, plain(logits, labels).float())


def test_any_memory_format() -> None:
    logits, labels = make((2, 5, 4, 6), (16, 24))
    assert_equal(logits.detach().contiguous(memory_format=torch.channels_last).requires_grad_(), labels)
    assert_equal(torch.randn(2, 5, 6, 4).transpose(2, 3).requires_grad_(), labels)


def test_inside_torch_compile() -> None:
    logits, labels = make((2, 5, 4, 6), (16, 24))

    @torch.compile(backend="eager")
    def step(x: Tensor) -> Tensor:
        return 0.4 * strip_pixel_cross_entropy(x / 0.07, labels, IGNORE)

    found, wanted = step(logits), 0.4 * plain(logits / 0.07, labels)
    torch.testing.assert_close(found, wanted.float())
    ours, theirs = torch.autograd.grad(found, logits)[0], torch.autograd.grad(wanted, logits)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("label", [5, -1])
def test_labels_out_of_range_are_refused(label: int) -> None:
    logits, labels = make((1, 5, 4, 4), (16, 16))
    labels[0, 3, 3] = label
    with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
        strip_pixel_cross_entropy(logits, labels, IGNORE)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone forgets an earlier peak")
def test_peak_memory_is_below_a_third_of_the_plain_forms() -> None:
    logits, labels = torch.randn(2, 847, 64, 64).requires_grad_(), torch.randint(847, (2, 256, 256))
    ours, plains = (
        peak_growth(lambda loss=loss: loss(logits, labels, 65535).backward(), "cpu")
        for loss in (strip_pixel_cross_entropy, pixel_cross_entropy)
    )
    assert plains > 3 * 2 * 847 * 256 * 256 * 4 / 2**20 / 2  # else nothing was measured
    assert ours <= plains / 3
