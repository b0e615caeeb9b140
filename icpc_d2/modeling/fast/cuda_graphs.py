"""Calls whose kernels are started all at once, as CUDA graphs.

Where kernels are small, a GPU waits for the processor that starts them one by one. A graph holds the kernels of a call,
with their places in memory, and is started as a whole: the same kernels on new numbers, so that the result is the same.
"""

import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from icpc_d2.modeling.fast.dependencies import numeric_state

Function = Callable[[Tensor], Tensor]

# Kinds of calls that are recorded; each holds the memory of its intermediate results.
MOST_KINDS = 8

# Of recording, and of each replay: a graph has one place for its input, and one for its output.
_LOCK = threading.Lock()


class RecordedCalls:
    """Runs functions of one tensor, from the second call of a kind on as a CUDA graph.

    Of one kind are calls with inputs of one shape and dtype, in one precision and on one stream. Weights may be written
    to in between; where they have moved, all is recorded anew. Safe in threads. Copies start anew.
    """

    def __init__(self) -> None:
        self._places: Hashable = None  # of the weights
        self._kinds: dict[Hashable, Function | None] = {}
        self._failed = False

    def run(self, function: Function, x: Tensor, weights: Sequence[Tensor], key: Hashable = None) -> Tensor:
        """Return ``function(x)``; only where :func:`can_record` allows it.

        Args:
            weights: all other tensors that the function reads.
            key: whatever else it depends on.
        """
        places = tuple((weight.data_ptr(), weight.dtype) for weight in weights)
        stream = torch.cuda.current_stream(x.device).cuda_stream if x.is_cuda else None
        kind = (key, x.shape, x.dtype, x.device, stream, numeric_state())
        with _LOCK:
            if places != self._places:
                self._kinds.clear()
                self._places = places
            if kind in self._kinds and not self._failed:
                recorded = self._kinds[kind] or self._record(kind, function, x)
                return recorded(x)
            if len(self._kinds) < MOST_KINDS:
                self._kinds[kind] = None
        return function(x)

    def clear(self) -> None:
        """Forget all graphs, and free their memory."""
        self._kinds.clear()

    def __reduce__(self) -> tuple[type, tuple]:
        # What is recorded belongs to the weights of this very module.
        return RecordedCalls, ()

    def _record(self, kind: Hashable, function: Function, x: Tensor) -> Function:
        try:
            recorded = record(function, x)
        except RuntimeError as error:
            logging.getLogger(__name__).warning(
                "A part of the model could not be recorded as a CUDA graph, and goes on without, with the same "
                "results, but slower: %s",
                error,
            )
            self._failed = True
            return function
        self._kinds[kind] = recorded
        return recorded


def can_record(x: Tensor) -> bool:
    """Tell whether a call with this input may become a graph.

    It may on a GPU, where no gradient is recorded, and unless something compiles, traces, counts or records the call.
    """
    return not (
        torch.compiler.is_compiling()
        or torch.is_grad_enabled()
        or not x.is_cuda
        or torch.jit.is_tracing()
        or is_in_torch_dispatch_mode()
        or torch.cuda.is_current_stream_capturing()
    )


def record(function: Function, x: Tensor) -> Function:
    """Record a call on the GPU of `x`; return what replays it on the current stream with an input of the same shape.

    Raises:
        RuntimeError: the function does what a graph cannot, as reading a value back.
    """
    device, kind = x.device, x.device.type
    # Weights that autocast has turned into another dtype before would not be there when the graph is replayed.
    precision: dict[str, Any] = {
        "dtype": torch.get_autocast_dtype(kind),
        "enabled": torch.is_autocast_enabled(kind),
        "cache_enabled": False,
    }
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
    before = torch.cuda.current_stream(device)
    generator = torch.cuda.default_generators[before.device_index]
    # Inference tensors could not be written to later on.
    with torch.inference_mode(False), torch.no_grad(), torch.cuda.device(device), torch.autocast(kind, **precision):
        own = x.clone()
        stream.wait_stream(before)
        with torch.cuda.stream(stream):
            function(own)  # what libraries set up for a thread and a stream cannot be recorded
        random = generator.clone_state()
        try:
            # Other threads, such as those that load images, may go on using the GPU meanwhile.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                out = function(own)
        except RuntimeError:
            # PyTorch would leave both as they are while recording.
            torch.cuda.set_stream(before)
            generator.graphsafe_set_state(random)
            raise

    def replay(x: Tensor) -> Tensor:
        own.copy_(x)
        graph.replay()
        return out.clone()

    return replay
