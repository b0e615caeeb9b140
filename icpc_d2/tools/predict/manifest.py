"""A record of what a run has done, by which another one goes on where it was stopped.

``manifest.jsonl``, or ``manifest-2-of-8.jsonl`` of the second of eight processes, begins with the settings of the run
and then has a line for each input: ``{"place": ..., "name": ..., "status": "done"}``, or "failed" and a reason. Lines
are only added; a later one of the same input counts.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from icpc_d2.tools.predict.shards import Shard
from icpc_d2.tools.predict.sources import Source

PATTERN = "manifest*.jsonl"


class Manifest:
    """The record of a process; use it as a context.

    Args:
        folder: of the results.
        settings: what results depend on besides the inputs.
        resume: go on with what is recorded there, by whatever number of processes; else begin anew.

    Raises:
        ValueError: results of other settings are recorded there, and this run would go on with them.
    """

    def __init__(self, folder: Path, shard: Shard, settings: Mapping[str, Any], resume: bool) -> None:
        name = f"manifest-{shard.index + 1}-of-{shard.count}.jsonl" if shard.count > 1 else "manifest.jsonl"
        self.path = folder / name
        self._settings = dict(settings)
        self._done: dict[str, str] = {}  # place -> name
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob(PATTERN)):
            if resume:
                self._read(path)
            elif path == self.path or not path.stem.endswith(f"-of-{shard.count}"):
                path.unlink(missing_ok=True)  # of an earlier run; those of other processes of this run stay

    def is_done(self, source: Source) -> bool:
        """Tell whether results of an input were written under the name that they have now."""
        return self._done.get(source.place) == source.name

    def add(self, source: Source, failure: str | None = None) -> None:
        """Record that an input is done, or why not."""
        status = {"status": "done"} if failure is None else {"status": "failed", "reason": failure}
        self._write({"place": source.place, "name": source.name, **status})

    def __enter__(self) -> "Manifest":
        is_new = not self.path.exists() or not self.path.stat().st_size
        self._file = self.path.open("a", encoding="utf-8")
        # A process that was killed may have left half a line.
        self._file.write("" if is_new else "\n")
        self._write({"settings": self._settings})
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._file.close()

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def _read(self, path: Path) -> None:
        for entry in _entries(path):
            for key, found in entry.get("settings", {}).items():
                if (wanted := json.loads(json.dumps(self._settings.get(key)))) != found:
                    raise ValueError(
                        f"--resume: {path} is of a run with other settings: {key} {found!r}, now {wanted!r}. Take "
                        "another --output, or leave --resume out to begin anew."
                    )
            if "place" in entry:
                self._done[entry["place"]] = entry["name"] if entry["status"] == "done" else ""


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines that are whole."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                continue
