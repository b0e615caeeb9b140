"""The text side: tokens, prompts, the encoder against the naive one and against open_clip, the context decoder."""

import open_clip
import pytest
import torch
from torch import nn

from icpc_d2.modeling import clip
from icpc_d2.modeling.text.class_tokens import ClassTokens
from icpc_d2.modeling.text.context_decoder import Attention, ContextDecoder
from icpc_d2.modeling.text.prompts import PROMPTS, Context
from icpc_d2.modeling.text.text_encoder import TextEncoder
from tests.support.models import NAMES, naive_text


def test_tokens_hold_each_name_and_its_end() -> None:
    tokens = ClassTokens(NAMES, "{}", 77)
    assert tokens.prefix.tolist() == [49406]
    assert sum(count for count, _ in tokens.shapes) == len(NAMES)
    starts = torch.cat([torch.zeros(1, dtype=torch.long), tokens.ends[:-1] + 1])
    for index, name in enumerate(NAMES):
        place = tokens.order[index]
        ids = tokens.ids[starts[place] : tokens.ends[place] + 1].tolist()
        assert open_clip.SimpleTokenizer().decode(ids[:-1]).strip() == name
        assert ids[-1] == 49407


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat", "Cat "], "read alike"),
        ([], "no class names"),
        (["  "], "no text"),
        (["cat", "very " * 80], "very .*tokens long"),
    ],
)
def test_names_that_cannot_work_are_named(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassTokens(names, "{}", 77, num_context=9)


def test_long_names_fit_up_to_clips_77() -> None:
    room = 77 - 1 - 9 - 1
    ClassTokens(["very " * room], "{}", 77, num_context=9)
    with pytest.raises(ValueError, match=f"{room + 1} tokens long, but {room} are left"):
        ClassTokens(["very " * (room + 1)], "{}", 77, num_context=9)


@pytest.mark.parametrize("architecture", ["tiny-RN", pytest.param("RN50-quickgelu", marks=pytest.mark.slow)])
@pytest.mark.parametrize("template", ["a photo of a {}.", "{}", "the {} (in a picture)"])
def test_template_prompt_is_open_clips_encode_text(architecture: str, template: str) -> None:
    reference = open_clip.model.CLIP(**clip.get_architecture(architecture)).eval()
    encoder = TextEncoder(architecture)
    own = encoder.state_dict()
    encoder.load_state_dict({name: value for name, value in reference.state_dict().items() if name in own})
    texts = open_clip.tokenize([template.format(name) for name in NAMES])
    with torch.no_grad():
        found = encoder(ClassTokens(NAMES, template, 77), Context())
        torch.testing.assert_close(found[0], reference.encode_text(texts), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prompt_name", sorted(PROMPTS))
def test_shared_prefix_equals_the_naive_encoder(prompt_name: str) -> None:
    """Outputs to 1e-5 and gradients of everything learned to 1e-4 of the largest."""
    encoder = TextEncoder("tiny-RN")
    prompt = PROMPTS[prompt_name](4, 128, encoder.width, 16)
    tokens = ClassTokens(NAMES, "{}", 77, prompt.num_context)
    global_embed = torch.randn(3, 128)
    found = encoder(tokens, prompt(global_embed))
    wanted = naive_text(encoder, NAMES, prompt(global_embed))
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
    tokens = ClassTokens(NAMES, "{}", 77)
    blocks = list(tokens.blocks(max_tokens))
    assert torch.equal(torch.cat([block.ids for block in blocks]), tokens.ids)
    assert torch.equal(torch.cat([block.positions for block in blocks]), tokens.positions)
    assert torch.equal(torch.cat([block.ids[block.ends] for block in blocks]), tokens.ids[tokens.ends])
    for block in blocks:
        assert sum(count * length for count, length in block.shapes) == len(block.ids)
        assert len(block.ids) <= max_tokens or len(block.ends) == 1


@pytest.mark.parametrize("checkpoint", [False, True])
def test_blocks_and_checkpoints_change_nothing(checkpoint: bool) -> None:
    encoder, prompt = TextEncoder("tiny-RN"), PROMPTS["icpc"](4, 128, 64, 16)
    names = [f"{first} {second}" for first in NAMES for second in NAMES]
    tokens, global_embed = ClassTokens(names, "{}", 77, 5), torch.randn(2, 128)
    results = []
    for encoder.memory, encoder.checkpoint in ((0, False), (1, checkpoint)):
        text = encoder(tokens, prompt(global_embed))
        loss = (text * torch.linspace(-1, 1, text.numel()).view_as(text)).sum()
        results.append((text, *torch.autograd.grad(loss, list(prompt.parameters()))))
    assert len(list(tokens.blocks(encoder._tokens_per_block(2)))) > 1
    for found, wanted in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=1e-4)


@pytest.mark.parametrize("prompt_name", sorted(PROMPTS))
def test_what_is_kept_in_evaluation_follows_the_weights(prompt_name: str) -> None:
    encoder, prompt = TextEncoder("tiny-RN"), PROMPTS[prompt_name](4, 128, 64, 16)
    tokens, global_embed = ClassTokens(NAMES, "{}", 77, prompt.num_context), torch.randn(2, 128)
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
            torch.testing.assert_close(first, naive_text(encoder, NAMES, prompt(global_embed)), atol=1e-5, rtol=1e-4)
            before = len(runs)
            assert torch.equal(first, encoder(tokens, prompt(global_embed)))
            # Nothing at all without an image; else the image's token and the classes, but not the shared context.
            assert len(runs) - before == (0 if prompt_name in ("template", "coop") else 2)
        other = ClassTokens(NAMES[::-1], "{}", 77, prompt.num_context)
        torch.testing.assert_close(encoder(other, prompt(global_embed)), first.flip(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_stays_near_float32(dtype: torch.dtype) -> None:
    encoder, prompt = TextEncoder("tiny-RN"), PROMPTS["icpc"](4, 128, 64, 16)
    tokens, global_embed = ClassTokens(NAMES, "{}", 77, 5), torch.randn(2, 128)
    wanted = encoder(tokens, prompt(global_embed))
    with torch.autocast("cpu", dtype):
        found = encoder(tokens, prompt(global_embed))
    found.float().square().sum().backward()
    assert nn.functional.cosine_similarity(found.float(), wanted, dim=-1).min() > 0.999
    assert all(parameter.grad.isfinite().all() for parameter in prompt.parameters())


def test_encoder_compiles_as_one_graph() -> None:
    encoder, prompt = TextEncoder("tiny-RN"), PROMPTS["icpc"](4, 128, 64, 16)
    tokens, global_embed = ClassTokens(NAMES, "{}", 77, 5), torch.randn(2, 128)
    compiled = torch.compile(lambda x: encoder(tokens, prompt(x)), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(global_embed), encoder(tokens, prompt(global_embed)))


def test_prompts_are_the_papers() -> None:
    """Each variant's tokens, by Table 4 and Eq. 2."""
    global_embed = torch.randn(2, 32)
    for name, prompt in ((name, cls(4, 32, 16, 8)) for name, cls in PROMPTS.items()):
        shared, per_image = prompt(global_embed)
        instance = prompt.projector(global_embed) if hasattr(prompt, "projector") else None
        if name in ("coop", "icpc"):
            assert shared is prompt.vectors
        else:
            assert shared is None
        if name in ("instance", "icpc"):
            torch.testing.assert_close(per_image, instance[:, None])
        elif name == "cocoop":
            torch.testing.assert_close(per_image[1, 2], prompt.vectors[2] + instance[1])
        else:
            assert per_image is None
        inserted = (0 if shared is None else len(shared)) + (0 if per_image is None else per_image.shape[1])
        assert prompt.num_context == inserted


def test_encoder_is_frozen_whatever_mode_is_set() -> None:
    encoder = TextEncoder("tiny-RN")
    nn.Sequential(encoder).train()
    assert not encoder.training and not encoder.transformer.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_context_decoder_starts_as_a_small_change() -> None:
    decoder = ContextDecoder(32, 16, 4, 3, 0.1, 1e-4)
    text, global_embed, dense = torch.randn(1, 5, 32), torch.randn(2, 32), torch.randn(2, 32, 3, 4)
    refined = decoder(text, global_embed, dense)
    assert refined.shape == (2, 5, 32)
    assert 0 < (refined - text).abs().max() < 1e-2
    with torch.no_grad():
        decoder.scale.zero_()
    assert torch.equal(decoder(text, global_embed, dense), text.expand(2, -1, -1))


def test_context_decoder_sees_the_global_token_and_every_position() -> None:
    decoder = ContextDecoder(32, 16, 4, 3, 0.0, 1.0).eval()
    text = torch.randn(1, 5, 32)
    memory = [torch.randn(1, 32, requires_grad=True), torch.randn(1, 32, 3, 4, requires_grad=True)]
    gradients = torch.autograd.grad(decoder(text, *memory).square().sum(), memory)
    assert (gradients[0].abs().sum() > 0) and (gradients[1].abs().sum(dim=1) > 0).all()


def test_attention_equals_torchs() -> None:
    attention = Attention(16, 4, 0.0)
    x, memory = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    reference, _ = nn.functional.multi_head_attention_forward(
        x.transpose(0, 1),
        memory.transpose(0, 1),
        memory.transpose(0, 1),
        16,
        4,
        None,
        torch.zeros(48),
        None,
        None,
        False,
        0.0,
        attention.proj.weight,
        attention.proj.bias,
        use_separate_proj_weight=True,
        q_proj_weight=attention.q_proj.weight,
        k_proj_weight=attention.k_proj.weight,
        v_proj_weight=attention.v_proj.weight,
    )
    torch.testing.assert_close(attention(x, memory), reference.transpose(0, 1))
