"""The figures of a study's finished runs, and whether they may be compared."""

import json
from collections.abc import Container
from statistics import mean, stdev
from typing import Any, NamedTuple

from icpc_d2.engine.run_folder.metrics import read_result
from icpc_d2.tools.study.runs import StudyRun
from icpc_d2.tools.study.tables import StudyTable

NOT_RUN = "not run"


class SeedFigures(NamedTuple):
    """The figures of a row in one column of its table, in percent."""

    seeds: dict[int, float]  # seed -> figure, of the runs that are finished

    @property
    def mean(self) -> float | None:
        """Their mean; None without any."""
        return mean(self.seeds.values()) if self.seeds else None

    @property
    def std(self) -> float | None:
        """Their sample standard deviation; None below two."""
        return stdev(self.seeds.values()) if len(self.seeds) > 1 else None

    def text(self) -> str:
        """Format mean and deviation."""
        deviation = "" if self.std is None else f" ± {self.std:.2f}"
        return NOT_RUN if self.mean is None else f"{self.mean:.2f}{deviation}"

    def plain(self) -> dict[str, Any]:
        """Return them as plain data."""
        return {"seeds": self.seeds, "mean": self.mean, "std": self.std}


def read_figures(table: StudyTable, finished: Container[StudyRun]) -> dict[str, dict[str, SeedFigures]]:
    """Read the figures of a table's finished runs: label -> column -> figures."""
    return {
        label: {
            column: SeedFigures(
                {run.seed: mean(read_result(run.folder, name) for name in names) for run in row.runs if run in finished}
            )
            for column, names in table.columns.items()
        }
        for label, row in table.rows.items()
    }


def provenance_notes(finished: list[StudyRun]) -> list[str]:
    """Return a sentence for whatever differs between finished runs though it should not: weights, code, device."""
    weights: dict[str, set[str]] = {}
    commits, devices = set(), set()
    for run in finished:
        found = json.loads((run.folder / "results.json").read_text(encoding="utf-8")).get("provenance", {})
        for address, digest in found.get("sha256", {}).items():
            weights.setdefault(address, set()).add(digest)
        git = found.get("git") or {}
        commits.add(f"{git.get('commit', 'unknown')[:12]}{' and changes' if git.get('changed') else ''}")
        devices.add(found.get("hardware", {}).get("device", "unknown"))
    notes = [
        f"**Not comparable:** {address} was {len(digests)} different files, SHA-256 "
        f"{', '.join(sorted(digest[:12] for digest in digests))}; remove the folders of the older runs."
        for address, digests in weights.items()
        if len(digests) > 1
    ]
    for what, values in (("code of several commits", commits), ("several devices", devices)):
        notes += [f"The runs are of {what}: {', '.join(sorted(values))}."] if len(values) > 1 else []
    return notes
