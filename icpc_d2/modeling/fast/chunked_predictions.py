"""Label maps made a few classes at a time, so that the full-size logits of all classes never exist.

Bilinear interpolation treats each class for itself, so that the parts are what the whole would be. A softmax does not:
predictions whose probabilities are averaged are brought to full size twice, first for the sum over all classes.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property, reduce

import torch
from torch import Tensor

from icpc_d2.modeling.predictions import LazyLogits, LazyProbabilities, LazyScores, View

# Size of the full-size logits that exist at once when label maps are made, and the fewest classes that do.
CHUNK_BYTES = 16 * 2**20
MIN_CHUNK = 8


class Chunked(LazyScores):
    """Mixed into :class:`LazyScores`: labels and sums over the classes by chunks of classes."""

    @torch.no_grad()
    def labels(self, candidates: Collection[int] | None = None) -> Tensor:
        """Return what the plain form returns, without ever holding all of the scores at full size."""
        labels = best = None
        for classes in self.chunks():
            chosen = [label for label in range(self.num_classes)[classes] if candidates is None or label in candidates]
            scores = self.scores(classes) if chosen else ()
            for label in chosen:
                score = scores[label - classes.start]
                if best is None:
                    best, labels = score.clone(), torch.full_like(score, label, dtype=torch.int64)
                else:
                    # Strictly: of equal classes the first one wins, as in argmax.
                    labels.masked_fill_(score > best, label)
                    torch.maximum(best, score, out=best)
        return labels

    def chunks(self) -> Iterator[slice]:
        """Yield parts of the classes.

        PyTorch's kernels round differently for three channels, and for what is left over of eight. So chunks begin at
        multiples of eight and have no fewer: then all bits are those of the whole.
        """
        step = max(1, CHUNK_BYTES // (4 * self.pixels * MIN_CHUNK)) * MIN_CHUNK
        starts = [*range(0, max(1, self.num_classes - MIN_CHUNK + 1), step), self.num_classes]
        yield from map(slice, starts, starts[1:])


class ChunkedLogits(Chunked, LazyLogits):
    """A model's logits for one image, a few classes at a time."""

    def log_sum_exp(self, chunks: Iterable[slice] | None = None) -> Tensor:
        """Return what the plain form returns.

        Args:
            chunks: the parts of the classes that are brought to full size one after another; None: :meth:`chunks`.
        """
        parts = (self.logits(classes).float().logsumexp(dim=0) for classes in chunks or self.chunks())
        return reduce(torch.logaddexp, parts)

    def losses(self, labels: Tensor) -> Tensor:
        """Return what the plain form returns."""
        log_sums, chosen, labels = [], None, labels.to(self.windows[0].logits.device)
        for classes in self.chunks():
            logits = self.logits(classes).float()
            log_sums.append(logits.logsumexp(dim=0))
            places = (labels - classes.start).clamp(0, len(logits) - 1)
            found = logits.gather(0, places[None])[0]
            chosen = found if chosen is None else found.where(labels >= classes.start, chosen)
        return reduce(torch.logaddexp, log_sums) - chosen

    def average(self, views: Sequence[View]) -> "ChunkedProbabilities":
        """Return the mean of the probabilities of several predictions, this and others of the image."""
        return ChunkedProbabilities(views)


class ChunkedProbabilities(Chunked, LazyProbabilities):
    """The mean of the probabilities of several :class:`ChunkedLogits`.

    The views' logits stay as coarse as they are; at full size there are the logarithm of each view's sum over the
    classes, and a few classes of one view at a time.
    """

    @cached_property
    def _log_sums(self) -> list[Tensor]:
        return [view.prediction.log_sum_exp(self.chunks()) for view in self.views]
