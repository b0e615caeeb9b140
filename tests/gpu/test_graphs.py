"""The text encoder as a CUDA graph: the numbers of its kernels started one by one."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import Tensor, nn

from icpc_d2.analysis.random_models import class_names
from icpc_d2.modeling.fast.cuda_graphs import RecordedCalls, can_record
from icpc_d2.modeling.fast.packed_tokens import PackedClassTokens
from icpc_d2.modeling.fast.recorded_text_encoder import RecordedTextEncoder
from icpc_d2.modeling.text.prompts import PROMPTS


class Text:
    """A prompt, class tokens and the encoder."""

    def __init__(self, device: str, prompt: str = "icpc") -> None:
        architecture, self.channels, count = ("RN50-quickgelu", 1024, 150) if device == "cuda" else ("tiny-RN", 128, 12)
        self.encoder = RecordedTextEncoder(architecture).to(device)
        self.prompt = PROMPTS[prompt](8, self.channels, self.encoder.width, 16).to(device)
        self.tokens = PackedClassTokens(
            class_names(count), "{}", self.encoder.context_length, self.prompt.num_context
        ).to(device)
        self.device = device

    def embeds(self, count: int) -> Tensor:
        return torch.randn(count, 1, self.channels, device=self.device)

    @torch.no_grad()
    def __call__(self, embed: Tensor, plain: bool = False) -> Tensor:
        with self.plain() if plain else nullcontext():
            return self.encoder(self.tokens, self.prompt(embed))

    @contextmanager
    def plain(self) -> Iterator[None]:
        self.encoder.graph_tokens = 0
        yield
        del self.encoder.graph_tokens

    @property
    def recorded(self) -> int:
        """How many graphs there are."""
        return sum(graph is not None for graph in self.tokens.encodings._kinds.values())


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
@pytest.mark.parametrize("prompt", ["instance", "cocoop", "icpc"])
def test_a_graph_gives_the_same_numbers(device: str, prompt: str, precision: str) -> None:
    torch.manual_seed(0)
    text = Text(device, prompt)
    dtype = getattr(torch, precision, torch.float32)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    with torch.autocast(device, dtype, enabled=dtype != torch.float32):
        embeds = text.embeds(5)
        wanted = [text(embed, plain=True) for embed in embeds]
        found = [text(embed) for embed in embeds]
    assert text.recorded == (device == "cuda")
    for ours, plain in zip(found, wanted, strict=True):
        assert torch.equal(ours, plain)
    assert not torch.equal(found[3], found[4])


def test_a_graph_follows_its_weights(device: str) -> None:
    text = Text(device)
    embed = text.embeds(1)[0]
    first = [text(embed) for _ in range(3)][-1]
    changes = (
        lambda: nn.init.normal_(text.prompt.vectors),
        lambda: nn.init.normal_(text.encoder.ln_final.bias),
        lambda: text.encoder.to("cpu").to(device),
        lambda: setattr(text.encoder.text_projection, "data", torch.randn_like(text.encoder.text_projection)),
        lambda: text.encoder.load_state_dict({k: v + 0.01 for k, v in text.encoder.state_dict().items()}),
        lambda: (text.tokens.cpu(), torch.randn(10**6, device=device), text.tokens.to(device)),
    )
    for change in changes:
        change()
        wanted = text(embed, plain=True)
        for _ in range(3):
            assert torch.equal(text(embed), wanted)
    assert not torch.allclose(first, wanted)
    assert text.recorded >= (device == "cuda")
    text.tokens.train()
    assert text.recorded == 0


def test_a_graph_in_inference_mode_and_outside(device: str) -> None:
    text = Text(device)
    embeds = text.embeds(6)
    wanted = [text(embed, plain=True) for embed in embeds]
    for index, (embed, plain) in enumerate(zip(embeds, wanted, strict=True)):
        with torch.inference_mode(index % 3 != 2):
            assert torch.equal(text(embed.clone()), plain)


def test_graphs_in_threads_and_streams(device: str) -> None:
    """Each result is that of its own input."""
    text = Text(device)
    embeds = text.embeds(40)
    wanted = [text(embed, plain=True) for embed in embeds]
    text(embeds[0])
    found: dict[int, Tensor] = {}

    def run(first: int, own_stream: bool) -> None:
        stream = torch.cuda.Stream() if device == "cuda" and own_stream else None
        if stream is not None:
            stream.wait_stream(torch.cuda.default_stream())
        with torch.cuda.stream(stream):
            for index in range(first, len(embeds), 4):
                found[index] = text(embeds[index])
            if stream is not None:
                stream.synchronize()

    threads = [threading.Thread(target=run, args=(first, first == 3)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[index], plain) for index, plain in enumerate(wanted))
    assert text.recorded == (2 if device == "cuda" else 0)


def test_what_reads_a_value_back_goes_on_without_a_graph(device: str, caplog: pytest.LogCaptureFixture) -> None:
    calls = RecordedCalls()
    x = torch.ones(4, device=device)

    def read_back(x: Tensor) -> Tensor:
        return x * x.sum().item()

    with torch.no_grad(), caplog.at_level(logging.WARNING):
        for factor in range(1, 5):
            found = calls.run(read_back, factor * x, []) if can_record(x) else read_back(factor * x)
            assert found.tolist() == [4.0 * factor**2] * 4
    assert len(caplog.records) == (device == "cuda")
    assert torch.randn(1000, device=device).sort().values.diff().min() >= 0, "the device still works"
    assert device == "cpu" or torch.cuda.current_stream() == torch.cuda.default_stream()
