"""All that a kept or recorded result depends on is seen."""

import torch
from torch import Tensor, nn

from icpc_d2.modeling.fast.dependencies import list_tensors, numeric_state
from icpc_d2.modeling.fast.packed_text_encoder import PackedTextEncoder
from icpc_d2.modeling.fast.packed_tokens import PackedClassTokens
from tests.support.models import NAMES


def identities(tensors: list[Tensor]) -> list[int]:
    return sorted(map(id, tensors))


def test_no_tensor_of_a_module_is_left_out() -> None:
    encoder, tokens = PackedTextEncoder("tiny-RN"), PackedClassTokens(NAMES, "{}", 77, 9)
    shared, norm = torch.ones(2), nn.BatchNorm2d(3)
    wanted = [shared, *(t for part in (encoder, tokens, norm) for t in (*part.parameters(), *part.buffers()))]
    assert identities(list_tensors(encoder, tokens, norm, shared, None)) == identities(wanted)
    replaced = encoder.ln_final.weight = nn.Parameter(torch.ones(1))
    assert any(tensor is replaced for tensor in list_tensors(encoder))
    assert list_tensors(nn.Sequential(nn.ReLU(), None)) == []


def test_precisions_are_told_apart() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    states = []
    try:
        for allowed in (False, True):
            matmul.allow_tf32 = allowed
            states.append(numeric_state())
    finally:
        matmul.allow_tf32 = before
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            states.append(numeric_state())
    assert len(set(states)) == 4
    assert numeric_state() in states
