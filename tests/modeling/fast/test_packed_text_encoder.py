"""The text encoder of packed prompts against the plain one."""

import pytest
import torch
from torch import Tensor, nn

from icpc_d2.analysis.random_models import class_names
from icpc_d2.modeling.fast.packed_text_encoder import PackedTextEncoder
from icpc_d2.modeling.fast.packed_tokens import PackedClassTokens
from icpc_d2.modeling.text.prompts import PROMPTS, Context
from icpc_d2.modeling.text.text_encoder import TextEncoder
from tests.support.models import NAMES


def plain(encoder: PackedTextEncoder, tokens: PackedClassTokens, context: Context) -> Tensor:
    """Whole prompts, on the same parameters."""
    return TextEncoder.forward(encoder, tokens, context)


@pytest.mark.parametrize("prompt_name", sorted(PROMPTS))
def test_equals_the_plain_encoder(prompt_name: str) -> None:
    """Outputs to 1e-5 and gradients of everything learned to 1e-4 of the largest."""
    encoder = PackedTextEncoder("tiny-RN")
    prompt = PROMPTS[prompt_name](4, 128, encoder.width, 16)
    tokens = PackedClassTokens(NAMES, "{}", 77, prompt.num_context)
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


@pytest.mark.parametrize("max_tokens", [1, 600, 10**9])
def test_parts_hold_every_name_once(max_tokens: int) -> None:
    """Each name stands whole before its EOT, in the order that `order` undoes."""
    names = class_names(150)
    tokens = PackedClassTokens(names, "{}", 77, 9)
    found = []
    for part in tokens.sequences(max_tokens):
        count, length = part.ids.shape[0], part.mask.shape[-1]
        assert count * length <= max_tokens or count == 1
        for row, ends in enumerate(part.eot_positions.tolist()):
            for last in ends:
                first = last - int(part.offsets[row, last])
                found.append(part.ids[row, first : last + 1].tolist())
    in_order = [found[place] for place in tokens.packed_order]
    assert in_order == [ids[:length].tolist() for ids, length in zip(tokens.ids, tokens.lengths, strict=True)]


def test_joining_undoes_splitting() -> None:
    tokens = PackedClassTokens(class_names(150), "{}", 77, 9)
    (sequences,) = tokens.sequences(10**9)
    x = torch.randn(2, 10 + sequences.ids.numel(), 4)
    split = sequences.split(x)
    assert split.shape == (2 * len(sequences.ids), sequences.mask.shape[-1], 4)
    assert torch.equal(sequences.join(split), x)


@pytest.mark.parametrize("num_classes", [1, 150, 847, 2000])
def test_sequences_are_few_and_hardly_padded(num_classes: int) -> None:
    tokens = PackedClassTokens(class_names(num_classes), "{}", 77, 9)
    total = sum(tokens.lengths)
    assert len(tokens.packed_ids) == -(-total // 64)
    assert tokens.packed_ids.numel() <= total + 4 * len(tokens.packed_ids)


@pytest.mark.parametrize("num_classes", [1, 847, pytest.param(2000, marks=pytest.mark.slow)])
def test_equals_the_plain_encoder_for_many_classes(num_classes: int) -> None:
    encoder, prompt = PackedTextEncoder("tiny-RN"), PROMPTS["icpc"](4, 128, 64, 16)
    tokens = PackedClassTokens(class_names(num_classes), "{}", 77, prompt.num_context)
    context = prompt(torch.randn(1, 128))
    with torch.no_grad():
        torch.testing.assert_close(encoder(tokens, context), plain(encoder, tokens, context), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_parts_and_checkpoints_change_nothing(checkpoint: bool) -> None:
    encoder, prompt = PackedTextEncoder("tiny-RN"), PROMPTS["icpc"](4, 128, 64, 16)
    tokens, global_embed = PackedClassTokens(class_names(300), "{}", 77, 5), torch.randn(2, 128)
    results = []
    for encoder.max_activation_mib, encoder.checkpoint in ((0, False), (1, checkpoint)):
        text = encoder(tokens, prompt(global_embed))
        loss = (text * torch.linspace(-1, 1, text.numel()).view_as(text)).sum()
        results.append((text, *torch.autograd.grad(loss, list(prompt.parameters()))))
    assert len(list(tokens.sequences(encoder._max_tokens(2)))) > 1
    for found, wanted in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=1e-4)


@pytest.mark.parametrize("prompt_name", sorted(PROMPTS))
def test_what_is_kept_in_evaluation_follows_the_weights(prompt_name: str) -> None:
    encoder, prompt = PackedTextEncoder("tiny-RN"), PROMPTS[prompt_name](4, 128, 64, 16)
    tokens, global_embed = PackedClassTokens(NAMES, "{}", 77, prompt.num_context), torch.randn(2, 128)
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
            assert len(runs) - before == (0 if prompt_name in ("template", "coop") else 1), "nothing without an image"
        other = PackedClassTokens(NAMES[::-1], "{}", 77, prompt.num_context)
        torch.testing.assert_close(encoder(other, prompt(global_embed)), first.flip(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_stays_near_float32(dtype: torch.dtype) -> None:
    encoder, prompt = PackedTextEncoder("tiny-RN"), PROMPTS["icpc"](4, 128, 64, 16)
    tokens, global_embed = PackedClassTokens(NAMES, "{}", 77, 5), torch.randn(2, 128)
    wanted = encoder(tokens, prompt(global_embed))
    with torch.autocast("cpu", dtype):
        found = encoder(tokens, prompt(global_embed))
    found.float().square().sum().backward()
    assert nn.functional.cosine_similarity(found.float(), wanted, dim=-1).min() > 0.999
    assert all(parameter.grad.isfinite().all() for parameter in prompt.parameters())


def test_encoder_compiles_as_one_graph() -> None:
    encoder, prompt = PackedTextEncoder("tiny-RN"), PROMPTS["icpc"](4, 128, 64, 16)
    tokens, global_embed = PackedClassTokens(NAMES, "{}", 77, 5), torch.randn(2, 128)
    compiled = torch.compile(lambda x: encoder(tokens, prompt(x)), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(global_embed), encoder(tokens, prompt(global_embed)))
