"""What the runs of a study gave: a table in Markdown, the same as JSON, and two plots."""

import json
from pathlib import Path
from statistics import mean, stdev

from tabulate import tabulate

from icpc_d2.engine.run_folder.metrics import metric_curve, read_result
from icpc_d2.tools.study.plan import Study
from icpc_d2.visualization.curves import draw_curves
from icpc_d2.visualization.scores import draw_scores

Scores = dict[str, dict[int, float]]  # label -> seed -> value, of the finished runs


def write_report(study: Study, out: Path, plots: str) -> str:
    """Write ``table.md``, ``results.json`` and the plots of the runs that are finished.

    Args:
        plots: kind of the pictures, "svg", "png" or "pdf".

    Returns:
        The table.
    """
    scores = collect(study)
    text = table(study, scores)
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(text + "\n", encoding="utf-8")
    (out / "results.json").write_text(json.dumps(summary(study, scores), indent=2) + "\n", encoding="utf-8")
    finished = {label: list(values.values()) for label, values in scores.items()}
    draw_scores(out / f"scores.{plots}", finished, f"{study.metric} (%)")
    curves = {
        label: [metric_curve(run.folder, study.metric) for run in runs if run.is_finished()]
        for label, runs in study.by_label.items()
    }
    curves = {label: group for label, group in curves.items() if group}
    if curves:
        draw_curves(out / f"curves.{plots}", curves, f"{study.metric} (%)")
    return text


def collect(study: Study) -> Scores:
    """The metric of each finished run."""
    return {
        label: {run.seed: read_result(run.folder, study.metric) for run in runs if run.is_finished()}
        for label, runs in study.by_label.items()
    }


def table(study: Study, scores: Scores) -> str:
    """A row for each config: its seeds, mean and sample standard deviation, and how far it is from the first row."""
    seeds = list(dict.fromkeys(run.seed for run in study.runs))
    first = next(iter(scores))
    headers = ["", *(f"seed {seed}" for seed in seeds), f"{study.metric}, mean ± std", f"against {first}", "minutes"]
    minutes = {label: sum(run.state().get("seconds", 0) for run in runs) / 60 for label, runs in study.by_label.items()}
    rows = []
    for label, values in scores.items():
        difference = "-"
        if label != first and values and scores[first]:
            difference = f"{mean(values.values()) - mean(scores[first].values()):+.2f}"
        singles = [f"{values[seed]:.2f}" if seed in values else "-" for seed in seeds]
        rows.append([label, *singles, _mean_and_deviation(values), difference, f"{minutes[label]:.1f}"])
    align = ("left", *("right",) * (len(headers) - 1))
    return tabulate(rows, headers, tablefmt="pipe", colalign=align, disable_numparse=True)


def summary(study: Study, scores: Scores) -> dict:
    """The same as plain data."""
    return {
        "title": study.title,
        "metric": study.metric,
        "results": {
            label: {
                "seeds": values,
                "mean": mean(values.values()) if values else None,
                "std": stdev(values.values()) if len(values) > 1 else None,
                "seconds": sum(run.state().get("seconds", 0) for run in study.by_label[label]),
            }
            for label, values in scores.items()
        },
    }


def _mean_and_deviation(values: dict[int, float]) -> str:
    if not values:
        return "-"
    deviation = f" ± {stdev(values.values()):.2f}" if len(values) > 1 else ""
    return f"{mean(values.values()):.2f}{deviation}"
