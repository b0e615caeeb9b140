"""``icpc predict --engine ray``: Ray Data hands the inputs to workers, on this machine or on many, in small parts.

Workers write the files; to this process, which keeps the manifest, comes what became of each input. A part whose worker
dies is done again by another one, input by input, so that one that kills its workers is found and left out.
"""

import argparse
import logging
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import torch

from icpc_d2.files import TEMPORARY
from icpc_d2.inference.exported_predictor import load_predictor
from icpc_d2.tools.predict.source_predictor import SourcePredictor
from icpc_d2.tools.predict.sources import Source

# CPU cores of a worker, where nobody says how many workers there are: a model in memory for each core is too many.
CORES = 4
# Parts of the inputs for each worker, so that they end at about the same time, and the inputs that a part may have.
PARTS, LARGEST_PART = 32, 1024
# Workers that an input may cost while it is segmented alone: Ray would try again for ever.
DEATHS = 2


class WorkersError(RuntimeError):
    """The workers cannot go on."""


class Workers(NamedTuple):
    """How many workers there are, and what each takes of its machine."""

    count: int
    cores: int
    gpus: int


class RayEngine:
    """A Ray cluster for the inputs of a command line."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Connect to the cluster, or start one on this machine.

        Raises:
            ImportError: Ray is missing.
            ConnectionError: there is no cluster at the address.
            ValueError: it has not as many workers as are asked for.
        """
        if args.device not in (None, "cpu", "cuda"):
            raise ValueError(f"--device is {args.device!r}; wanted is cpu or cuda: Ray says which GPU is whose.")
        self._args, self._ray = args, _import_ray()
        address = args.ray_address or os.environ.get("RAY_ADDRESS") or "local"
        local = {"include_dashboard": False} if address == "local" else {}
        self._ray.init(address, logging_level=logging.WARNING, log_to_driver=False, **local)
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        self.workers = plan_workers(args.workers, nodes, args.device)

    def results(self, sources: Sequence[Source]) -> Generator[tuple[Source, str | None], None, None]:
        """Segment the inputs; yield each when its files are written, with what went wrong.

        Raises:
            WorkersError: they cannot go on, or have ended without a word on some inputs.
        """
        if not sources:
            return
        marker = Path(self._args.output, f"{TEMPORARY}ray-{uuid4()}").resolve()
        marker.touch()
        left = {source.place: source for source in sources}
        try:
            for row in self._segmented(sources, marker).iter_rows():
                source = left.pop(row["place"], None)
                if source is not None:
                    yield source, row["reason"] if row["failed"] else None
        except self._ray.exceptions.RayError as error:
            raise WorkersError(f"Ray: {error}") from error
        finally:
            marker.unlink()
            self._ray.shutdown()
        if left:
            raise WorkersError(f"Ray has ended without results of {len(left)} inputs, such as {next(iter(left))}.")

    def _segmented(self, sources: Sequence[Source], marker: Path) -> "ray.data.Dataset":  # noqa: F821
        """Return the results to come, a row for each input."""
        from ray import data

        data.DataContext.get_current().enable_progress_bars = False
        for name in ("ray.data", "ray.train"):
            logging.getLogger(name).setLevel(logging.ERROR)
        count, cores, gpus = self.workers
        per_part = min(LARGEST_PART, max(self._args.batch_size, -(-len(sources) // (count * PARTS))))
        rows = data.from_items(
            [source._asdict() for source in sources], override_num_blocks=-(-len(sources) // per_part)
        )
        return rows.map_batches(
            RayWorker,
            fn_constructor_args=(self._args, Path.cwd(), marker, self.workers),
            batch_size=None,
            compute=data.ActorPoolStrategy(size=count),
            num_cpus=cores,
            num_gpus=gpus,
        )


class RayWorker:
    """A predictor in a process of Ray, which holds it as long as there are inputs."""

    def __init__(self, args: argparse.Namespace, folder: Path, marker: Path, workers: Workers) -> None:
        """
        Args:
            folder: the working folder of the command, from which its paths begin.
            marker: a file that the command has put into the output folder.

        Raises:
            OSError: this machine does not see these folders.
        """
        os.chdir(folder)
        if not marker.is_file():
            raise FileNotFoundError(
                f"{os.uname().nodename} does not see what the command writes into {marker.parent}: wanted is an "
                "--output that all machines of the cluster share."
            )
        torch.set_num_threads(max(1, workers.cores))
        predictor = load_predictor(args.weights, "cuda" if workers.gpus else "cpu", args.tta)
        self._predictor, self._marker = SourcePredictor(predictor, args), marker

    def __call__(self, part: Mapping[str, np.ndarray]) -> Iterator[dict[str, list[str | bool]]]:
        """Segment the inputs of a part; yield a row for each."""
        sources = [Source(*map(str, row)) for row in zip(*(part[name] for name in Source._fields), strict=True)]
        for source, failure in self._results(sources):
            yield {"place": [source.place], "failed": [failure is not None], "reason": [failure or ""]}

    def _results(self, sources: Sequence[Source]) -> Iterator[tuple[Source, str | None]]:
        """Return the predictor's results, input by input where another worker has died of these."""
        log = self._marker.with_name(f"{self._marker.name}-{sha256(sources[0].place.encode()).hexdigest()}")
        earlier = log.read_text(encoding="utf-8").splitlines() if log.exists() else None
        try:
            with log.open("a", encoding="utf-8", buffering=1) as file:
                if earlier is None:
                    yield from self._predictor.results(sources)
                for index, source in enumerate(() if earlier is None else sources):
                    deaths = earlier.count(f"{index} begun") - earlier.count(f"{index} done")
                    if deaths >= DEATHS:
                        yield source, f"{deaths} workers died of it: memory that ran out, or a fault of a library"
                        continue
                    file.write(f"{index} begun\n")
                    yield from self._predictor.results([source])
                    file.write(f"{index} done\n")
        finally:
            log.unlink(missing_ok=True)


def plan_workers(count: int | None, nodes: Sequence[Mapping[str, float]], device: str | None) -> Workers:
    """Share a cluster among workers: a GPU for each, or where there is none, or none is wanted, as many CPU cores.

    Args:
        count: of workers; None: as many as there are GPUs, or one for each four cores of a machine.
        nodes: "GPU" and "CPU" of each machine.
        device: "cpu", "cuda", or None: GPUs if there are any.

    Raises:
        ValueError: there are fewer GPUs or cores than workers.
    """
    gpus, cores = (sum(int(node.get(name, 0)) for node in nodes) for name in ("GPU", "CPU"))
    if device == "cuda" or (gpus and device is None):
        if not 1 <= (count or gpus) <= gpus:
            raise ValueError(f"found {gpus} GPUs in the Ray cluster, wanted one for each of {count or 1} workers.")
        return Workers(count or gpus, 0, 1)
    if not 1 <= (count or 1) <= cores:
        raise ValueError(f"found {cores} CPU cores in the Ray cluster, wanted one for each of {count or 1} workers.")
    if count is None:
        share = min(CORES, max(int(node.get("CPU", 0)) for node in nodes))
        return Workers(sum(int(node.get("CPU", 0)) // share for node in nodes), share, 0)
    # The largest share of which the machines have so many: a worker is on one machine.
    shares = range(cores // count, 0, -1)
    share = next(share for share in shares if sum(int(node.get("CPU", 0)) // share for node in nodes) >= count)
    return Workers(count, share, 0)


def _import_ray() -> ModuleType:
    """Return Ray, which does not send statistics of its use anywhere unless its own setting says so."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError(f"--engine ray needs Ray Data ({error}): python -m pip install 'ray[data]'") from error
    return ray
