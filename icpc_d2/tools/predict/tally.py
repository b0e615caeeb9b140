"""The results of a command line, whoever segments its inputs: counted, shown, and recorded."""

import argparse
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing

from tqdm import tqdm

from icpc_d2.tools.predict.manifest import Manifest
from icpc_d2.tools.predict.source_predictor import files_of
from icpc_d2.tools.predict.sources import Source


class Tally:
    """Takes results as they come.

    Attributes:
        failures: place of an input -> what went wrong.
    """

    def __init__(self, args: argparse.Namespace, manifest: Manifest | None, missing: Mapping[str, str]) -> None:
        """
        Args:
            manifest: where results are recorded.
            missing: inputs that were not found -> why.
        """
        self.failures = dict(missing)
        self._args, self._manifest = args, manifest
        self._images, self._seconds = 0, 0.0

    def without_done(self, sources: Sequence[Source]) -> list[Source]:
        """Return the inputs that an earlier run has not recorded as done, or whose files are gone."""
        return [source for source in sources if not self._is_done(source)]

    def take(self, results: Generator[tuple[Source, str | None], None, None], left: Sequence[Source]) -> None:
        """Count and record each of the results, which are of the inputs `left`."""
        images = sum(source.kind == "image" for source in left)
        # The workers of Ray are started when results are asked for: the first one says that they are there.
        start = None if self._args.engine == "ray" else time.perf_counter()
        with closing(results), tqdm(total=images, unit="image", disable=not images) as progress:
            for source, failure in results:
                if failure is not None:
                    self.failures[source.place] = failure
                if self._manifest is not None:
                    self._manifest.add(source, failure)
                if source.kind != "image":
                    continue
                progress.update()
                if start is None:
                    start = time.perf_counter()
                    continue
                self._images += failure is None
                self._seconds = time.perf_counter() - start

    @property
    def rate(self) -> float:
        """Images a second; 0 before there are any."""
        return self._images / self._seconds if self._seconds else 0.0

    def report(self, total: int) -> int:
        """Say how many of `total` inputs are done, how fast, and which are not; return the exit status."""
        rate = f", {self.rate:.2f} images/s" if self._images and self._seconds > 1 else ""
        print(f"{total - len(self.failures)} of {total} done, in {self._args.output}{rate}")
        for place, reason in self.failures.items():
            print(f"failed: {place}: {reason.removeprefix(f'{place}: ')}", file=sys.stderr)
        return 1 if self.failures else 0

    def _is_done(self, source: Source) -> bool:
        if self._manifest is None or source.kind == "camera" or not self._manifest.is_done(source):
            return False
        return all(path.exists() for path in files_of(source, self._args).values())
