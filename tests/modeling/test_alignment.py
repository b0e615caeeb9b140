"""Eq. 5 and 8 against loops written from the paper."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.modeling.alignment import MultiScaleAlignment, SingleScaleAlignment, Up, cosine_scores


def loop_scores(image: Tensor, text: Tensor) -> Tensor:
    """Eq. 5, one position and one class at a time."""
    batch, _, height, width = image.shape
    scores = torch.zeros(batch, text.shape[1], height, width)
    for b in range(batch):
        for k in range(text.shape[1]):
            for y in range(height):
                for x in range(width):
                    i, t = image[b, :, y, x], text[b, k]
                    scores[b, k, y, x] = (i / i.norm()) @ (t / t.norm())
    return scores


def transposed_convolutions(x: Tensor, up: Up) -> Tensor:
    """Kernel and stride 2, written as what each input position adds to its 2 x 2 outputs."""
    for step in up:
        batch, _, height, width = x.shape
        out = torch.zeros(batch, step.out_channels, 2 * height, 2 * width)
        for dy in range(2):
            for dx in range(2):
                out[:, :, dy::2, dx::2] = torch.einsum("bihw,io->bohw", x, step.weight[:, :, dy, dx])
        x = out + step.bias[:, None, None]
    return x


def randomize(module: torch.nn.Module) -> None:
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)


def test_cosine_scores_follow_eq_5() -> None:
    image, text = torch.randn(2, 8, 3, 4), torch.randn(2, 5, 8)
    scores = cosine_scores(image, text)
    torch.testing.assert_close(scores, loop_scores(image, text))
    assert scores.abs().max() <= 1 + 1e-6


@pytest.mark.parametrize("level", ["res5", "res4"])
def test_multi_scale_follows_eq_8(level: str) -> None:
    alignment = MultiScaleAlignment(level, 8, 5, "random")
    randomize(alignment)
    image, text = torch.randn(2, 8, 4, 6), torch.randn(2, 5, 8)
    scores = alignment(image, text)
    if level == "res5":
        a32 = loop_scores(image, text)
        a16 = loop_scores(transposed_convolutions(image, alignment.up_embed), text)
    else:
        a16 = loop_scores(image, text)
        a32 = loop_scores(F.max_pool2d(image, 2), text)
    up = transposed_convolutions
    a8 = up(a32, alignment.up_32_to_8) + up(a16, alignment.up_16_to_8)
    a4 = up(a32, alignment.up_32_to_4) + up(a16, alignment.up_16_to_4) + up(a8, alignment.up_8_to_4)
    for name, wanted in (("res5", a32), ("res4", a16), ("res3", a8), ("res2", a4)):
        torch.testing.assert_close(scores[name], wanted, atol=1e-4, rtol=1e-4)
    assert set(scores) == {"res2", "res3", "res4", "res5"}


def test_identity_start_upsamples_each_class_to_itself() -> None:
    scores = torch.randn(1, 5, 2, 3)
    torch.testing.assert_close(Up(5, 4, "identity")(scores), F.interpolate(scores, scale_factor=4, mode="nearest"))
    assert not torch.allclose(Up(5, 4, "random")(scores), F.interpolate(scores, scale_factor=4, mode="nearest"))


def test_single_scale_is_one_map() -> None:
    image, text = torch.randn(2, 8, 3, 4), torch.randn(2, 5, 8)
    scores = SingleScaleAlignment("res5")(image, text)
    assert list(scores) == ["res5"]
    torch.testing.assert_close(scores["res5"], loop_scores(image, text))


def test_another_start_is_refused() -> None:
    with pytest.raises(ValueError, match=r"MODEL\.ALIGNMENT\.INIT is 'identiy'; wanted is 'identity' or 'random'"):
        Up(4, 2, "identiy")
