"""The text encoder that runs nothing twice against the plain one."""

import pytest
import torch
from torch import Tensor, nn

from icpc_d2.modeling.fast.shared_prefix import SharedPrefixTextEncoder
from icpc_d2.modeling.fast.token_groups import GroupedClassTokens
from icpc_d2.modeling.text.prompts import PROMPTS, Context
from icpc_d2.modeling.text.text_encoder import TextEncoder
from tests.support.models import NAMES


def plain(encoder: SharedPrefixTextEncoder, tokens: GroupedClassTokens, context: Context) -> Tensor:
    """Whole prompts, on the same parameters."""
    return TextEncoder.forward(encoder, tokens, context)


@pytest.mark.parametrize("prompt_name", sorted(PROMPTS))
def test_equals_the_plain_encoder(prompt_name: str) -> None:
    """Outputs to 1e-5 and gradients of everything learned to 1e-4 of the largest."""
    encoder = SharedPrefixTextEncoder("tiny-RN")
    prompt = PROMPTS[prompt_name](4, 128, encoder.width, 16)
    tokens = GroupedClassTokens(NAMES, "{}", 77, prompt.num_context)
    global_embed = torch.randn(3, 128)
    found = encoder(tokens, prompt(global_embed))
    wanted = plain(encoder, tokens, prompt(global_embed))
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    parameters = list(prompt.parameters())
    if parameters:
        weights = torch.randn_like(wanted)
        ours = torch.autograd.grad((found * weights).sum(), parameters)
        naive = torch.autograd.grad((wanted * weights).sum(), parameters)
        for gradient, reference in zip(ours, naive, strict=True):
            torch.testing.assert_close(gradient, reference, atol=1e-4 * reference.abs().max().item(), rtol=1e-3)


@pytest.mark.parametrize("max_tokens", [1, 4, 7, 10**9])
def test_blocks_hold_every_class_once(max_tokens: int) -> None:
    tokens = GroupedClassTokens(NAMES, "{}", 77)
    blocks = list(tokens.blocks(max_tokens))
    assert torch.equal(torch.cat([block.ids for block in blocks]), tokens.flat_ids)
    assert torch.equal(torch.cat([block.positions for block in blocks]), tokens.positions)
    assert torch.equal(
        torch.cat([block.ids[block.eot_indices] for block in blocks]), tokens.flat_ids[tokens.eot_indices]
    )
    for block in blocks:
        assert sum(count * length for count, length in block.group_sizes) == len(block.ids)
        assert len(block.ids) <= max_tokens or len(block.eot_indices) == 1


@pytest.mark.parametrize("checkpoint", [False, True])
def test_blocks_and_checkpoints_change_nothing(checkpoint: bool) -> None:
    encoder, prompt = SharedPrefixTextEncoder("tiny-RN"), PROMPTS["icpc"](4, 128, 64, 16)
    names = [f"{first} {second}" for first in NAMES for second in NAMES]
    tokens, global_embed = GroupedClassTokens(names, "{}", 77, 5), torch.randn(2, 128)
    results = []
    for encoder.max_activation_mib, encoder.checkpoint in ((0, False), (1, checkpoint)):
        text = encoder(tokens, prompt(global_embed))
        loss = (text * torch.linspace(-1, 1, text.numel()).view_as(text)).sum()
        results.append((text, *torch.autograd.grad(loss, list(prompt.parameters()))))
    assert len(list(tokens.blocks(encoder._tokens_per_block(2)))) > 1
    for found, wanted in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=1e-4)


@pytest.mark.parametrize("prompt_name", sorted(PROMPTS))
def test_what_is_kept_in_evaluation_follows_the_weights(prompt_name: str) -> None:
    encoder, prompt = SharedPrefixTextEncoder("tiny-RN"), PROMPTS[prompt_name](4, 128, 64, 16)
    tokens, global_embed = GroupedClassTokens(NAMES, "{}", 77, prompt.num_context), torch.randn(2, 128)
    runs = []
    encoder.transformer.resblocks[0].ln_1.register_forward_hook(lambda *_: runs.append(1))
    with torch.no_grad():
        for change in (
            lambda: None,
            lambda: [parameter.add_(0.05) for parameter in prompt.parameters()],
            lambda: encoder.load_state_dict({name: value * 1.01 for name, value in encoder.state_dict().items()}),
        ):
            change()
            first = encoder(tokens, prompt(global_embed))
            torch.testing.assert_close(first, plain(encoder, tokens, prompt(global_embed)), atol=1e-5, rtol=1e-4)
            before = len(runs)
            assert torch.equal(first, encoder(tokens, prompt(global_embed)))
            # Nothing at all without an image; else the image's token and the classes, but not the shared context.
            assert len(runs) - before == (0 if prompt_name in ("template", "coop") else 2)
        other = GroupedClassTokens(NAMES[::-1], "{}", 77, prompt.num_context)
        torch.testing.assert_close(encoder(other, prompt(global_embed)), first.flip(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_stays_near_float32(dtype: torch.dtype) -> None:
    encoder, prompt = SharedPrefixTextEncoder("tiny-RN"), PROMPTS["icpc"](4, 128, 64, 16)
    tokens, global_embed = GroupedClassTokens(NAMES, "{}", 77, 5), torch.randn(2, 128)
    wanted = encoder(tokens, prompt(global_embed))
    with torch.autocast("cpu", dtype):
        found = encoder(tokens, prompt(global_embed))
    found.float().square().sum().backward()
    assert nn.functional.cosine_similarity(found.float(), wanted, dim=-1).min() > 0.999
    assert all(parameter.grad.isfinite().all() for parameter in prompt.parameters())


def test_encoder_compiles_as_one_graph() -> None:
    encoder, prompt = SharedPrefixTextEncoder("tiny-RN"), PROMPTS["icpc"](4, 128, 64, 16)
    tokens, global_embed = GroupedClassTokens(NAMES, "{}", 77, 5), torch.randn(2, 128)
    compiled = torch.compile(lambda x: encoder(tokens, prompt(x)), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(global_embed), encoder(tokens, prompt(global_embed)))
