"""The text side: tokens, prompts, the encoder against open_clip, the context decoder."""

import open_clip
import pytest
import torch
from torch import nn

from icpc_d2.modeling import clip
from icpc_d2.modeling.text.class_tokens import ClassTokens
from icpc_d2.modeling.text.context_decoder import Attention, ContextDecoder
from icpc_d2.modeling.text.prompts import PROMPTS, Context
from icpc_d2.modeling.text.text_encoder import TextEncoder
from tests.support.models import NAMES


def test_tokens_hold_each_name_and_its_end() -> None:
    tokens = ClassTokens(NAMES, "{}", 77)
    assert tokens.prefix.tolist() == [49406]
    assert tokens.ids.shape == (len(NAMES), int(tokens.eot_positions.max()) + 1)
    for name, ids, end in zip(NAMES, tokens.ids.tolist(), tokens.eot_positions.tolist(), strict=True):
        assert open_clip.SimpleTokenizer().decode(ids[:end]).strip() == name
        assert set(ids[end:]) == {49407}
    assert tokens.eot_positions[NAMES.index("chest of drawers")] == 3


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


@pytest.mark.parametrize("prompt_name", ["coop", "instance", "cocoop", "icpc"])
def test_learned_tokens_stand_where_words_would(prompt_name: str) -> None:
    """Context that holds the embeddings of words gives what a template of these words gives."""
    encoder, prompt = TextEncoder("tiny-RN"), PROMPTS[prompt_name](4, 128, 64, 16)
    words = "a photo of a dark red"
    ids = torch.tensor(open_clip.SimpleTokenizer().encode(words))[: prompt.num_context]
    shared, per_image = prompt(torch.randn(2, 128))
    embedded = encoder.token_embedding(ids)
    context = Context(
        None if shared is None else embedded[: len(shared)],
        None if per_image is None else embedded[-per_image.shape[1] :].expand(2, -1, -1),
    )
    found = encoder(ClassTokens(NAMES, "{}", 77, prompt.num_context), context)
    template = " ".join(words.split()[: prompt.num_context]) + " {}"
    wanted = encoder(ClassTokens(NAMES, template, 77), Context())
    torch.testing.assert_close(found, wanted.expand_as(found), atol=1e-5, rtol=1e-4)


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
