"""The report on a study: tables and verdicts in Markdown, the same as JSON, and plots of each table."""

import json
from collections.abc import Container, Mapping
from pathlib import Path

from tabulate import tabulate

from icpc_d2.engine.run_folder.metrics import metric_curve
from icpc_d2.files import atomically
from icpc_d2.tools.study.results import SeedFigures, provenance_notes, read_figures
from icpc_d2.tools.study.runs import StudyRun
from icpc_d2.tools.study.tables import Study, StudyTable
from icpc_d2.tools.study.verdicts import format_verdicts, judge_claims
from icpc_d2.visualization.curves import draw_curves
from icpc_d2.visualization.scores import draw_scores

# More seeds than that have no column each.
MAX_SEEDS = 5
TableFigures = Mapping[str, Mapping[str, SeedFigures]]  # label -> column -> figures


def write_report(study: Study, out: Path, plots: str) -> str:
    """Write ``table.md``, ``results.json`` and the plots of the runs that are finished; return what is in the first.

    Args:
        plots: kind of their files, "svg", "png" or "pdf".
    """
    finished = [run for run in study.metrics if run.is_finished()]
    figures = {table.name: read_figures(table, finished) for table in study.tables}
    judged = [one for table in study.tables for one in judge_claims(table, figures[table.name])]
    sections = [format_table(table, figures[table.name]) for table in study.tables]
    sections += [format_verdicts(judged)] if judged else []
    text = "\n\n".join([*sections, *provenance_notes(finished)])
    out.mkdir(parents=True, exist_ok=True)
    for name, content in (("table.md", text), ("results.json", json.dumps(_plain(study, figures, judged), indent=2))):
        with atomically(out / name) as temporary:
            temporary.write_text(content + "\n", encoding="utf-8")
    for table in study.tables:
        draw_plots(table, figures[table.name], finished, out, plots)
    return text


def format_table(table: StudyTable, figures: TableFigures) -> str:
    """Format a row for each of a table's: its seeds, mean and sample standard deviation, distance from the first."""
    columns, rows = [*table.columns], table.rows
    seeds = list(dict.fromkeys(run.seed for row in rows.values() for run in row.runs))
    first, has_paper = next(iter(rows)), any(row.published is not None for row in rows.values())
    is_single = len(columns) == 1
    singles = seeds if is_single and len(seeds) <= MAX_SEEDS else []
    headers = ["", *(["paper"] if has_paper else []), *(f"seed {seed}" for seed in singles)]
    headers += [f"{column}, mean ± std" for column in columns]
    headers += [*([f"against {first}"] if is_single else []), "minutes"]
    lines = []
    for label, row in rows.items():
        found = figures[label]
        values, base = found[columns[0]], figures[first][columns[0]].mean
        paper = ["-" if row.published is None else f"{row.published:.2f}"] if has_paper else []
        apart = "-" if label == first or values.mean is None or base is None else f"{values.mean - base:+.2f}"
        lines.append(
            [
                label,
                *paper,
                *(f"{values.seeds[seed]:.2f}" if seed in values.seeds else "-" for seed in singles),
                *(found[column].text() for column in columns),
                *([apart] if is_single else []),
                f"{seconds_of(row.runs) / 60:.1f}",
            ]
        )
    align = ("left", *("right",) * (len(headers) - 1))
    text = tabulate(lines, headers, tablefmt="pipe", colalign=align, disable_numparse=True)
    return f"**{table.name}**\n\n{text}" if table.name else text


def seconds_of(runs: tuple[StudyRun, ...]) -> float:
    """Return how long runs took so far."""
    return sum(run.state().get("seconds", 0.0) for run in runs)


def draw_plots(table: StudyTable, figures: TableFigures, finished: Container[StudyRun], out: Path, plots: str) -> None:
    """Draw a table's first column: all runs, and over the iterations those of trainings."""
    column = next(iter(table.columns))
    scores = {label: list(found[column].seeds.values()) for label, found in figures.items()}
    draw_scores(out / f"{table.slug}scores.{plots}", scores, f"{column} (%)")
    curves = {}
    for label, row in table.rows.items():
        trained = [run for run in row.runs if run in finished and run.training is None]
        if trained and len(table.columns[column]) == 1:
            curves[label] = [metric_curve(run.folder, table.columns[column][0]) for run in trained]
    if curves:
        draw_curves(out / f"{table.slug}curves.{plots}", curves, f"{column} (%)")


def _plain(study: Study, figures: Mapping[str, TableFigures], judged: list) -> dict:
    """Return the results as plain data: of a study of one table without a name its figures, else by table."""
    if [table.name for table in study.tables] == [""]:
        (table,) = study.tables
        (metric,) = table.columns
        results = {
            label: {**found[metric].plain(), "seconds": seconds_of(table.rows[label].runs)}
            for label, found in figures[""].items()
        }
        return {"title": study.title, "metric": metric, "results": results}
    tables = {
        name: {label: {column: one.plain() for column, one in row.items()} for label, row in table.items()}
        for name, table in figures.items()
    }
    seconds = seconds_of(tuple(study.metrics))
    return {"title": study.title, "seconds": seconds, "tables": tables, "claims": [one.plain() for one in judged]}
