"""The verdict on each claim, seed against seed, and all of them as a table."""

from collections.abc import Mapping
from statistics import mean, stdev
from typing import Any, NamedTuple

from tabulate import tabulate

from icpc_d2.tools.study.paired_test import LEVEL, Verdict, judge
from icpc_d2.tools.study.results import SeedFigures
from icpc_d2.tools.study.tables import Claim, StudyTable

HEADERS = ("table", "claim", "paper", "difference, mean ± std", "seeds", "p", "p, contrary", "verdict")


class Judged(NamedTuple):
    """A claim of a table and its verdict."""

    table: StudyTable
    claim: Claim
    differences: dict[int, float]  # seed -> figure of the better row minus the other's
    verdict: Verdict

    def text(self) -> str:
        """Say the claim in words."""
        claim = self.claim
        column = f", {claim.column}" if len(self.table.columns) > 1 else ""
        if claim.margin:
            return f"{claim.better} no more than {claim.margin:g} below {claim.than}{column}"
        return f"{claim.better} above {claim.than}{column}"

    def published(self) -> float | None:
        """Return the difference of the paper's figures; None where the table has none."""
        better, than = (self.table.rows[label].published for label in (self.claim.better, self.claim.than))
        return None if better is None or than is None else better - than

    def cells(self) -> list[str]:
        """Return the row of the table of verdicts."""
        values = [*self.differences.values()]
        found = f"{mean(values):+.2f}" if values else "-"
        found += f" ± {stdev(values):.2f}" if len(values) > 1 else ""
        published = self.published()
        paper = "-" if published is None else f"{published:+.2f}"
        probabilities = ["-" if p is None else f"{p:.3f}" for p in self.verdict[1:]]
        return [self.table.name, self.text(), paper, found, str(len(values)), *probabilities, self.verdict.word]

    def plain(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        published = {"paper": self.published(), "differences": self.differences}
        verdict = {"verdict": self.verdict.word, "p": self.verdict.p_claim, "p_contrary": self.verdict.p_contrary}
        return {"table": self.table.name, **self.claim.__dict__, **published, **verdict}


def judge_claims(table: StudyTable, figures: Mapping[str, Mapping[str, SeedFigures]]) -> list[Judged]:
    """Judge a table's claims by the seeds that both rows have."""
    judged = []
    for claim in table.claims:
        better, than = (figures[label][claim.column].seeds for label in (claim.better, claim.than))
        differences = {seed: better[seed] - than[seed] for seed in better if seed in than}
        judged.append(Judged(table, claim, differences, judge([*differences.values()], claim.margin)))
    return judged


def format_verdicts(judged: list[Judged]) -> str:
    """Format all verdicts as a table, and below it how many of them chance alone would give."""
    align = ("left", "left", *("right",) * (len(HEADERS) - 3), "left")
    table = tabulate([one.cells() for one in judged], HEADERS, tablefmt="pipe", colalign=align, disable_numparse=True)
    tested = sum(one.verdict.word not in ("not run", "too few seeds") for one in judged)
    words = [one.verdict.word for one in judged]
    counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    text = (
        f"{table}\n\n{len(judged)} claims: {counts}. p is exact, by the signs of the differences seed by seed. A claim "
        f"is shown where p is at most {LEVEL:g}, contrary where that of the opposite is."
    )
    if tested:
        by_chance = f"{LEVEL * tested:.1f} of the {tested} claims tested"
        text += f" Were no row better than any other, about {by_chance} would be shown all the same."
    return text
