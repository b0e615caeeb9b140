"""The report on a study: a table in Markdown, the same as JSON, and two plots."""

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tabulate import tabulate

from icpc_d2.engine.run_folder.metrics import metric_curve, read_result
from icpc_d2.tools.study.plan import Study
from icpc_d2.visualization.curves import draw_curves
from icpc_d2.visualization.scores import draw_scores


def write_report(study: Study, out: Path, plots: str) -> str:
    """Write ``table.md``, ``results.json`` and the plots of the runs that are finished; return the table.

    Args:
        plots: kind of their files, "svg", "png" or "pdf".
    """
    results = summarize(study)
    text = format_results(study, results)
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(text + "\n", encoding="utf-8")
    content = {"title": study.title, "metric": study.metric, "results": results}
    (out / "results.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    scores = {label: list(result["seeds"].values()) for label, result in results.items()}
    draw_scores(out / f"scores.{plots}", scores, f"{study.metric} (%)")
    curves = {
        label: [metric_curve(run.folder, study.metric) for run in runs if run.is_finished()]
        for label, runs in study.by_label.items()
        if results[label]["seeds"]
    }
    if curves:
        draw_curves(out / f"curves.{plots}", curves, f"{study.metric} (%)")
    return text


def summarize(study: Study) -> dict[str, dict[str, Any]]:
    """Read the metric of each finished run: by config its "seeds", their "mean" and "std", and the "seconds" of all."""
    results = {}
    for label, runs in study.by_label.items():
        values = {run.seed: read_result(run.folder, study.metric) for run in runs if run.is_finished()}
        results[label] = {
            "seeds": values,
            "mean": mean(values.values()) if values else None,
            "std": stdev(values.values()) if len(values) > 1 else None,
            "seconds": sum(run.state().get("seconds", 0) for run in runs),
        }
    return results


def format_results(study: Study, results: dict[str, dict[str, Any]]) -> str:
    """Format a row for each config: its seeds, mean and sample standard deviation, and its distance from the first."""
    seeds = list(dict.fromkeys(run.seed for run in study.runs))
    first, base = next((label, result["mean"]) for label, result in results.items())
    headers = ["", *(f"seed {seed}" for seed in seeds), f"{study.metric}, mean ± std", f"against {first}", "minutes"]
    rows = []
    for label, result in results.items():
        values, average, deviation = result["seeds"], result["mean"], result["std"]
        singles = [f"{values[seed]:.2f}" if seed in values else "-" for seed in seeds]
        both = "-" if average is None else f"{average:.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")
        difference = "-" if label == first or average is None or base is None else f"{average - base:+.2f}"
        rows.append([label, *singles, both, difference, f"{result['seconds'] / 60:.1f}"])
    align = ("left", *("right",) * (len(headers) - 1))
    return tabulate(rows, headers, tablefmt="pipe", colalign=align, disable_numparse=True)
