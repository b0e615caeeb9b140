"""A study: tables, of whose rows each shows the runs of a config, and what is claimed of the rows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from icpc_d2.tools.study.runs import StudyRun


@dataclass(frozen=True)
class TableRow:
    """The runs that a row of a table shows."""

    runs: tuple[StudyRun, ...]  # seed by seed
    published: float | None = None  # the paper's figure


@dataclass(frozen=True)
class Claim:
    """One row is better than another, or not much worse."""

    better: str  # label of the row
    than: str  # label of the other
    column: str  # of the table
    margin: float = 0.0  # how much worse than the other it may be


@dataclass(frozen=True)
class StudyTable:
    """A table of a study."""

    name: str  # "" in a study of one table
    rows: Mapping[str, TableRow]  # by their labels
    columns: Mapping[str, tuple[str, ...]]  # header -> names in ``results.json``, of whose figures it shows the mean
    claims: tuple[Claim, ...] = ()

    @property
    def slug(self) -> str:
        """The name for files, with a separator behind it."""
        return f"{folder_name(self.name)}_" if self.name else ""


@dataclass(frozen=True)
class Study:
    """The content of a study file."""

    title: str  # in a line
    tables: tuple[StudyTable, ...]

    @property
    def metrics(self) -> dict[StudyRun, tuple[str, ...]]:
        """All runs, each once however many rows show it, with the names of its figures in ``results.json``.

        Seed by seed, so that of an unfinished study all rows have something to show; trainings before evaluations.
        """
        found: dict[StudyRun, dict[str, None]] = {}
        for table in self.tables:
            for run in (run for row in table.rows.values() for run in row.runs):
                found.setdefault(run, {}).update({name: None for names in table.columns.values() for name in names})
                if run.training is not None:
                    found.setdefault(run.training, {})
        order = sorted(found, key=lambda run: (run.seed, run.training is not None))
        return {run: tuple(found[run]) for run in order}

    def check_metrics(self) -> None:
        """Check that the runs will give the figures that the tables show.

        Raises:
            ValueError: a config is wrong, or is evaluated on other data sets.
        """
        configs = {(run.config, run.options): (run, names) for run, names in self.metrics.items()}
        for run, names in configs.values():
            datasets = run.read_config().DATASETS.TEST
            # Of several data sets each figure is named for its own. Another script than ours may know of them itself.
            for dataset, name in ((name.rpartition("/")[0], name) for name in names if datasets):
                if (dataset.split("/")[0] in datasets) != (len(datasets) > 1):
                    wanted = ", ".join(f"{found}/mIoU" for found in datasets) if len(datasets) > 1 else "mIoU"
                    raise ValueError(
                        f"{run.label}: {run.config} will have no figure {name!r}, since DATASETS.TEST is "
                        f"{list(datasets)}. Wanted is one such as {wanted}."
                    )

    def only(self, names: Sequence[str]) -> "Study":
        """Return a study of some of its tables.

        Raises:
            ValueError: it has no table of such a name.
        """
        known = [table.name for table in self.tables]
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"there is no table {unknown[0]!r}; the tables are {', '.join(known)}.")
        return Study(self.title, tuple(table for table in self.tables if table.name in names))


def folder_name(label: str) -> str:
    """Return a label as the name of a folder: lower case, what is neither letter nor digit as underscores."""
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") or "_"
