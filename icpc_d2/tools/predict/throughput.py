"""How fast the model alone is: the same images, read already, and nothing written."""

import time
from collections.abc import Sequence

from icpc_d2.tools.predict.pipeline import FAILURES, WAITING, Read, in_batches_of_one_size
from icpc_d2.tools.predict.source_predictor import SourcePredictor
from icpc_d2.tools.predict.sources import Source

# Images that are kept in memory for it.
MEASURED = 200


def measure_model(predictor: SourcePredictor, sources: Sequence[Source]) -> tuple[int, float]:
    """Predict images in a loop, evenly taken from the sources, in batches as always.

    Returns:
        Their number, and images a second; 0 if none of those taken can be used.
    """
    images = [source for source in sources if source.kind == "image"]
    read: list[Read] = []
    for source in images[:: -(-len(images) // MEASURED) or 1]:
        try:
            read.append((source, predictor.read(source)))
        except FAILURES:
            continue
    batch_size = predictor.args.batch_size
    batches = [
        [image for _, image in batch] for batch in in_batches_of_one_size(read, batch_size, WAITING * batch_size)
    ]
    start = time.perf_counter()
    for batch in batches:
        predictor.predict(batch)
    return len(read), len(read) / (time.perf_counter() - start)
