"""Many images through a model: read ahead of it, in batches of one size, and written behind it."""

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from icpc_d2.inference.exported_predictor import PreparedImage
from icpc_d2.inference.image_reader import ModelInput
from icpc_d2.inference.prediction import Prediction
from icpc_d2.tools.predict.sources import Source

Result = TypeVar("Result")
ReadImage = ModelInput | PreparedImage
Read = tuple[Source, ReadImage]

# What a file can do wrong: unreadable, not writable, too large for the memory of a GPU.
FAILURES = (OSError, ValueError, RuntimeError)
# Times the batch size: images that are read ahead, that wait for others of their size, and that are being written.
AHEAD, WAITING, BEHIND = 2, 4, 2
# Threads that read, and that write; drawings and PNG take longer than some models on a GPU.
WORKERS = min(16, max(4, (os.cpu_count() or 1) // 2))


def segment_images(
    sources: Iterable[Source],
    read: Callable[[Source], ReadImage],
    predict: Callable[[list[ReadImage]], list[Prediction]],
    write: Callable[[Source, Prediction], None],
    batch_size: int,
) -> Iterator[tuple[Source, str | None]]:
    """Read, predict and write images; yield each when it is done, with what went wrong.

    Args:
        read, write: called by several threads at once.
        predict: called by this thread alone, with images of one size.
    """
    with ThreadPoolExecutor(WORKERS) as readers, ThreadPoolExecutor(WORKERS) as writers:
        failed: deque[tuple[Source, str]] = deque()
        images = _without_failures(_in_order(readers, read, sources, AHEAD * batch_size), failed)
        predictions = _predicted(in_batches_of_one_size(images, batch_size, WAITING * batch_size), predict, failed)
        written = _in_order(writers, lambda pair: write(*pair), predictions, BEHIND * batch_size)
        for (source, _), future in written:
            yield from _drain(failed)
            yield source, _reason(future)
        yield from _drain(failed)


def in_batches_of_one_size(images: Iterable[Read], batch_size: int, waiting: int) -> Iterator[list[Read]]:
    """Group images by the size that the model sees; when more than `waiting` wait, the largest group goes on."""
    groups: dict[tuple[int, ...], list[Read]] = defaultdict(list)
    for source, image in images:
        groups[image.size].append((source, image))
        if len(groups[image.size]) == batch_size:
            yield groups.pop(image.size)
        elif sum(map(len, groups.values())) > waiting:
            yield groups.pop(max(groups, key=lambda size: len(groups[size])))
    yield from groups.values()


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Any], Result], items: Iterable[Any], ahead: int
) -> Iterator[tuple[Any, "Future[Result]"]]:
    """Yield items with what a pool makes of them, while it works on the `ahead` that follow."""
    pending: deque[tuple[Any, Future[Result]]] = deque()
    try:
        for item in items:
            pending.append((item, pool.submit(work, item)))
            if len(pending) > ahead:
                yield pending.popleft()
        while pending:
            yield pending.popleft()
    finally:
        for _, future in pending:
            future.cancel()


def _without_failures(
    images: Iterable[tuple[Source, "Future[ReadImage]"]], failed: deque[tuple[Source, str]]
) -> Iterator[Read]:
    for source, future in images:
        if (reason := _reason(future)) is None:
            yield source, future.result()
        else:
            failed.append((source, reason))


def _predicted(
    batches: Iterable[Sequence[Read]],
    predict: Callable[[list[ReadImage]], list[Prediction]],
    failed: deque[tuple[Source, str]],
) -> Iterator[tuple[Source, Prediction]]:
    for batch in batches:
        try:
            predictions = predict([image for _, image in batch])
        except FAILURES as error:
            if len(batch) == 1:
                failed.append((batch[0][0], str(error)))
            else:
                # Which one it was shows when each is alone.
                yield from _predicted([[read] for read in batch], predict, failed)
            continue
        yield from ((source, prediction) for (source, _), prediction in zip(batch, predictions, strict=True))


def _reason(future: Future) -> str | None:
    """Wait, and return what went wrong; errors that are no fault of a file are raised."""
    error = future.exception()
    if error is None or isinstance(error, FAILURES):
        return error and str(error)
    raise error


def _drain(failed: deque[tuple[Source, str]]) -> Iterator[tuple[Source, str]]:
    while failed:
        yield failed.popleft()
