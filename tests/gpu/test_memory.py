"""Peak memory of the fast forms on the device, against the plain ones."""

import pytest
import torch

from icpc_d2.analysis.random_models import class_names
from icpc_d2.analysis.timing import peak_growth
from icpc_d2.modeling.fast.chunked_predictions import ChunkedLogits
from icpc_d2.modeling.fast.packed_text_encoder import PackedTextEncoder
from icpc_d2.modeling.fast.packed_tokens import PackedClassTokens
from icpc_d2.modeling.fast.strip_loss import strip_pixel_cross_entropy
from icpc_d2.modeling.losses import pixel_cross_entropy
from icpc_d2.modeling.text.prompts import PROMPTS
from icpc_d2.modeling.windows import whole_images

CLASSES = 847


def test_losses_take_a_quarter_of_the_plain_forms(device: str) -> None:
    batch, side = (4, 512) if device == "cuda" else (2, 256)
    logits = torch.randn(batch, CLASSES, side // 4, side // 4, device=device).requires_grad_()
    labels = torch.randint(CLASSES, (batch, side, side), device=device)
    ours, plains = (
        peak_growth(lambda loss=loss: loss(logits, labels, 65535).backward(), device)
        for loss in (strip_pixel_cross_entropy, pixel_cross_entropy)
    )
    assert plains >= batch * CLASSES * side**2 * 4 / 2**20, "else nothing was measured"
    assert ours <= plains / 4


def test_label_maps_take_a_quarter_of_the_logits(device: str) -> None:
    coarse, image = torch.randn(1, CLASSES, 64, 128, device=device), torch.zeros(3, 256, 512, device=device)
    (windows,) = whole_images(lambda _: coarse, image[None], [(256, 512)])
    full = CLASSES * 512 * 1024 * 4 / 2**20
    assert peak_growth(lambda: ChunkedLogits(windows, (256, 512), (512, 1024)).labels(), device) <= full / 4
    assert (
        peak_growth(lambda: ChunkedLogits(windows, (256, 512), (512, 1024)).logits(slice(0, 85)), device) >= full / 12
    )


@pytest.mark.parametrize("with_gradient", [False, True])
def test_text_keeps_to_its_bound(device: str, with_gradient: bool) -> None:
    """Without gradients, and with them where activations are computed again."""
    architecture, channels = ("RN50-quickgelu", 1024) if device == "cuda" else ("tiny-RN", 128)
    encoder = PackedTextEncoder(architecture, 0, checkpoint=with_gradient).to(device)
    prompt = PROMPTS["icpc"](8, channels, encoder.width, 16).to(device)
    tokens = PackedClassTokens(class_names(CLASSES), "{}", encoder.context_length, prompt.num_context).to(device)
    context = prompt(torch.randn(8, channels, device=device))
    context = context._replace(per_image=context.per_image.detach(), shared=context.shared.detach())
    if with_gradient:
        context.per_image.requires_grad_()

    def encode() -> None:
        with torch.set_grad_enabled(with_gradient):
            text = encoder(tokens, context)
            if with_gradient:
                text.sum().backward()

    encode()
    at_once = peak_growth(encode, device)
    encoder.max_activation_mib = max(1, int(at_once / 16))
    bounded = peak_growth(encode, device)
    # A CPU's process does not give all of it back.
    assert bounded <= (0.5 if device == "cuda" else 0.9) * at_once
