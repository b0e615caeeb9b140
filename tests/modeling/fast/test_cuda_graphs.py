"""When calls are recorded and replayed; on a CPU, a recording that stands in for CUDA's. See also tests/gpu."""

import copy
import logging
import pickle
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from icpc_d2.modeling.fast import cuda_graphs, recorded_text_encoder
from icpc_d2.modeling.fast.cache import WeightCache
from icpc_d2.modeling.fast.cuda_graphs import RecordedCalls, can_record
from icpc_d2.modeling.fast.packed_tokens import PackedClassTokens
from icpc_d2.modeling.fast.recorded_text_encoder import RecordedTextEncoder
from icpc_d2.modeling.text.prompts import PROMPTS
from tests.support.models import NAMES


class Recorder:
    """Counts recordings and replays; a replay calls what was recorded, with the weights as they are by then."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def record(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[Tensor], Tensor]:
        self.recorded += 1

        def replay(x: Tensor) -> Tensor:
            self.replayed += 1
            return function(x)

        return replay


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    recorder = Recorder()
    monkeypatch.setattr(cuda_graphs, "record", recorder.record)
    return recorder


def test_the_second_call_of_a_kind_is_recorded(recorder: Recorder) -> None:
    calls, weight = RecordedCalls(), torch.tensor(2.0)

    def run(x: Tensor, key: int = 0) -> Tensor:
        return calls.run(lambda x: x * weight, x, [weight], key)

    for index in range(3):
        assert run(torch.full((2,), float(index))).tolist() == [2.0 * index] * 2
    assert (recorder.recorded, recorder.replayed) == (1, 2)
    weight.add_(1)
    assert run(torch.ones(2)).tolist() == [3, 3], "written to, in its place"
    assert (recorder.recorded, recorder.replayed) == (1, 3)
    for count, other in enumerate((torch.ones(3), torch.ones(2).double(), torch.ones(2)), start=2):
        key = 7 if count == 4 else 0
        run(other, key)
        assert recorder.replayed == count + 1, "the first of its kind"
        run(other, key)
        assert (recorder.recorded, recorder.replayed) == (count, count + 2)


def test_another_precision_is_another_kind(recorder: Recorder) -> None:
    calls, weight, x = RecordedCalls(), torch.tensor(2.0), torch.ones(2)
    for _ in range(2):
        calls.run(lambda x: x * weight, x, [weight])
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            calls.run(lambda x: x * weight, x, [weight])
    assert (recorder.recorded, recorder.replayed) == (1, 1)
    calls.run(lambda x: x * weight, x, [weight])
    assert (recorder.recorded, recorder.replayed) == (1, 2)


def test_all_is_recorded_anew_where_weights_have_moved(recorder: Recorder) -> None:
    calls, x = RecordedCalls(), torch.ones(2)
    weights = [torch.tensor(2.0), torch.tensor(3.0)]
    for count, weight in enumerate((weights[0], weights[1], weights[0]), start=1):
        for _ in range(3):
            assert calls.run(lambda x, weight=weight: x * weight, x, [weight]).tolist() == [weight.item()] * 2
        assert (recorder.recorded, recorder.replayed) == (count, 2 * count)
        assert len(calls._kinds) == 1, "what was recorded with the others is forgotten"


def test_further_kinds_are_called(recorder: Recorder) -> None:
    calls = RecordedCalls()
    for _ in range(3):
        for size in range(1, 4 + cuda_graphs.MOST_KINDS):
            assert calls.run(torch.neg, torch.ones(size), []).tolist() == [-1] * size
    assert recorder.recorded == cuda_graphs.MOST_KINDS
    assert recorder.replayed == 2 * cuda_graphs.MOST_KINDS
    calls.clear()
    assert not calls._kinds


def test_what_cannot_be_recorded_is_called_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def record(function: Callable, x: Tensor) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(cuda_graphs, "record", record)
    calls = RecordedCalls()
    with caplog.at_level(logging.WARNING, logger=cuda_graphs.__name__):
        assert [calls.run(torch.neg, torch.ones(1), []).item() for _ in range(4)] == [-1] * 4
    (said,) = caplog.records
    assert said.message.startswith("A part of the model could not be recorded as a CUDA graph, and goes on without")
    assert said.message.endswith("operation not permitted when stream is capturing")


def test_copies_start_anew(recorder: Recorder) -> None:
    calls = RecordedCalls()
    for _ in range(2):
        calls.run(torch.neg, torch.ones(1), [])
    for other in (copy.deepcopy(calls), pickle.loads(pickle.dumps(calls))):
        assert calls._kinds and not other._kinds


def test_nothing_is_recorded_while_somebody_looks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a tool that counts operators: a replay would show it none."""
    x = torch.ones(2)
    assert not can_record(x), "on a CPU"
    monkeypatch.setattr(Tensor, "is_cuda", True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert not can_record(x), "gradients"
    with torch.no_grad():
        assert can_record(x)
        with FlopCounterMode(display=False):
            assert not can_record(x)
        found = []
        torch.jit.trace(lambda x: found.append(can_record(x)) or x + 1, x, check_trace=False)
        assert found == [False]
        with monkeypatch.context() as patch:
            patch.setattr(torch.compiler, "is_compiling", lambda: True)
            assert not can_record(x)
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        assert not can_record(x)


@pytest.mark.parametrize("prompt_name", sorted(PROMPTS))
def test_the_text_of_images_is_recorded(prompt_name: str, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the numbers of a call that is not; prompts that no image changes are kept as before."""
    encoder = RecordedTextEncoder("tiny-RN")
    prompt = PROMPTS[prompt_name](4, 128, encoder.width, 16)
    tokens = PackedClassTokens(NAMES, "{}", 77, prompt.num_context)
    embeds = torch.randn(4, 2, 128)
    with torch.no_grad():
        wanted = [encoder(tokens, prompt(embed)) for embed in embeds]
        monkeypatch.setattr(recorded_text_encoder, "can_record", lambda x: True)
        for embed, plain in zip(embeds, wanted, strict=True):
            assert torch.equal(encoder(tokens, prompt(embed)), plain)
        replayed = 3 if PROMPTS[prompt_name](4, 128, 64, 16)(embeds[0]).per_image is not None else 0
        assert recorder.replayed == replayed
        nn.init.normal_(encoder.ln_final.bias)
        changed = encoder(tokens, prompt(embeds[3]))
        assert not torch.allclose(changed, wanted[3], atol=0.1)
        tokens.train()
        assert not tokens.encodings._kinds
        encoder.graph_tokens, recorder.replayed = 0, 0
        for embed in embeds:
            encoder(tokens, prompt(embed))
        assert recorder.replayed == 0


def test_what_bounds_memory_is_part_of_a_recording(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, prompt = RecordedTextEncoder("tiny-RN"), PROMPTS["icpc"](4, 128, 64, 16)
    tokens = PackedClassTokens(NAMES, "{}", 77, prompt.num_context)
    monkeypatch.setattr(recorded_text_encoder, "can_record", lambda x: True)
    with torch.no_grad():
        for count, encoder.max_activation_mib in enumerate((0, 1), start=1):
            for _ in range(2):
                encoder(tokens, prompt(torch.randn(1, 128)))
            assert recorder.recorded == count


def test_a_compiled_encoder_is_not_recorded(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, prompt = RecordedTextEncoder("tiny-RN"), PROMPTS["icpc"](4, 128, 64, 16)
    tokens = PackedClassTokens(NAMES, "{}", 77, prompt.num_context)
    monkeypatch.setattr(recorded_text_encoder, "can_record", lambda x: True)
    context = prompt(torch.randn(1, 128))
    with torch.no_grad():
        wanted = encoder(tokens, context)
        encoder.compile(backend="eager")
        for _ in range(3):
            torch.testing.assert_close(encoder(tokens, context), wanted)
    assert recorder.recorded == 0


def test_a_kept_value_is_of_one_precision() -> None:
    """Embeddings that were kept in bfloat16 are not those of float16."""
    cache, weight = WeightCache(), torch.randn(8, 8)
    with torch.no_grad():
        kept = []
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", dtype):
                kept.append(cache.get([weight], None, lambda: weight @ weight))
    assert [value.dtype for value in kept] == [torch.bfloat16, torch.float16]
