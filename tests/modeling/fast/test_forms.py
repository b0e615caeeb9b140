"""Whole models in both forms, on the same parameters."""

import pytest
import torch
from torch import nn

from icpc_d2.analysis.random_models import build_both_forms
from tests.support.models import TINY_VIT, make_batch, make_cfg

VARIANTS = {
    "RN": (),
    "ViT": TINY_VIT,
    "single scale": ("MODEL.ALIGNMENT.MULTI_SCALE", False),
    "fine losses": ("MODEL.ALIGNMENT.LOSS_SCALES", ["res2", "res5"]),
    "template": ("MODEL.PROMPT.NAME", "template"),
    "several names": ("MODEL.CLASS_SYNONYMS", [["heaven"], [], [], [], ["man", "woman"], []]),
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_both_forms_of_a_model_agree(options: tuple) -> None:
    """Losses, gradients, logits and label maps; the plain form keeps nothing open or apart."""
    plain, fast = build_both_forms(make_cfg("quickstart/icpc_tiny.yaml", *options))
    assert plain.state_dict().keys() == fast.state_dict().keys()
    for parameter in fast.alignment.parameters():
        nn.init.normal_(parameter, std=0.3)
    batch = make_batch((64, 96), (64, 64))
    results = []
    for model in (plain, fast):
        torch.manual_seed(0)
        losses = model.train()(batch)
        parameters = [p for p in model.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(sum(losses.values()), parameters)
        model.eval()
        with torch.no_grad():
            logits = [result["sem_seg"] for result in model(batch)]
            labels = [result["labels"] for result in model.label_maps(batch)]
        assert all(torch.equal(full.argmax(dim=0), found) for full, found in zip(logits, labels, strict=True))
        results.append((losses, gradients, logits))
    (losses, gradients, logits), (fast_losses, fast_gradients, fast_logits) = results
    scale = max(gradient.abs().max().item() for gradient in gradients)
    for name, loss in losses.items():
        torch.testing.assert_close(fast_losses[name], loss, atol=1e-5, rtol=1e-5)
    for found, wanted in zip(fast_gradients, gradients, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4 * max(wanted.abs().max().item(), 1e-3 * scale), rtol=1e-3)
    for found, wanted in zip(fast_logits, logits, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_the_plain_form_is_made_of_plain_parts() -> None:
    plain, fast = build_both_forms(make_cfg())
    rooms = {module.__module__ for module in plain.modules()} | {plain.alignment_loss.pixel_loss.__module__}
    assert not [room for room in rooms if ".fast." in room]
    for part in ("class_tokens", "text_encoder", "alignment", "neck"):
        assert isinstance(getattr(fast, part), type(getattr(plain, part)))
