"""The plan of a study: configs, each run with some seeds, the tables that show them, and what is claimed of their rows.

A study of one table is short: ``configs`` (label -> config) and ``seeds``. A plan of several tables names its
``trainings`` (name -> config) and, if some rows only evaluate what others have trained, its ``evaluations`` (name ->
{config, training}); its ``tables`` show them, each as often as it likes, and each is run once::

    tables:
      Table 1:
        columns: {mIoU: mIoU}               # header -> a metric, or several whose mean it shows; the default
        rows:                               # label -> the name of what it shows, and the paper's figure
          DenseCLIP: {run: denseclip, paper: 43.5}
          ICPC: {run: icpc, paper: 45.2}
        claims:                             # with `margin`: at most so much worse; `column` if not the first
          - {better: ICPC, than: DenseCLIP}

Paths are relative to the plan. Both kinds may have a ``title`` in a line and ``options``, KEY, VALUE, ... for all runs.
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from icpc_d2.tools.study.runs import StudyRun
from icpc_d2.tools.study.tables import Claim, Study, StudyTable, TableRow, folder_name

DEFAULT_METRIC = "mIoU"
# Keys that each part must and may have.
KEYS = {
    "study": ({"configs", "seeds"}, {"title", "metric", "options"}),
    "plan": ({"trainings", "tables", "seeds"}, {"title", "evaluations", "options"}),
    "evaluation": ({"config", "training"}, set()),
    "table": ({"rows"}, {"columns", "claims"}),
    "row": ({"run"}, {"paper"}),
    "claim": ({"better", "than"}, {"margin", "column"}),
}


def read_study(path: Path, out: Path, options: Sequence[str] = (), num_seeds: int = 0) -> Study:
    """Read a study file, as the head of this file describes it.

    Args:
        out: the folder of the runs.
        options: KEY VALUE pairs for all runs, besides the file's.
        num_seeds: that many seeds from 0 on, instead of the file's; 0: the file's.

    Raises:
        ValueError: the file says something else, or two names would share a folder.
        FileNotFoundError: it, or a config that it names, is missing.
    """
    content = _load(path)
    kind = "plan" if isinstance(content, dict) and "trainings" in content else "study"
    _check_keys(path.name, content, kind)
    seeds = list(range(num_seeds)) or content["seeds"]
    integers = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not integers or not seeds or len({*seeds}) < len(seeds):
        raise ValueError(f"{path}: 'seeds' is {seeds!r}, wanted different integers, 0 or more, as in [0, 1, 2].")
    options = (*map(str, content.get("options", [])), *options)
    title = str(content.get("title", path.stem))
    if kind == "study":
        configs = {str(label): config for label, config in _mapping(path, content, "configs").items()}
        runs = _runs(path, configs, out, seeds, options)
        columns = {(metric := content.get("metric", DEFAULT_METRIC)): (metric,)}
        return Study(title, (StudyTable("", {label: TableRow(found) for label, found in runs.items()}, columns),))
    runs = _plan_runs(path, content, out, seeds, options)
    tables = {str(name): table for name, table in _mapping(path, content, "tables").items()}
    study = Study(title, tuple(_table(f"{path}: {name}", name, table, runs) for name, table in tables.items()))
    if len({table.slug for table in study.tables}) < len(study.tables):
        raise ValueError(f"{path}: two tables of {list(tables)} would share the names of their plots; rename one.")
    if unused := {name for name, found in runs.items() if not {*found} & study.metrics.keys()}:
        raise ValueError(f"{path}: no table shows {', '.join(sorted(unused))}.")
    return study


def _plan_runs(path: Path, content: Any, out: Path, seeds: Sequence[int], options: Sequence[str]) -> dict:
    """Return the runs of all trainings and evaluations of a plan by their names."""
    configs = dict(_mapping(path, content, "trainings"))
    trainings = {}
    for name, entry in (_mapping(path, content, "evaluations") if "evaluations" in content else {}).items():
        _check_keys(f"{path}: {name}", entry, "evaluation")
        if entry["training"] not in content["trainings"]:
            raise ValueError(f"{path}: {name} evaluates {entry['training']!r}, which is none of the trainings.")
        if name in configs:
            raise ValueError(f"{path}: {name} is a training and an evaluation; rename one.")
        configs[name], trainings[name] = entry["config"], entry["training"]
    return _runs(path, configs, out, seeds, options, trainings)


def _runs(
    path: Path,
    configs: Mapping[str, str],
    out: Path,
    seeds: Sequence[int],
    options: Sequence[str],
    trainings: Mapping[str, str] | None = None,
) -> dict[str, tuple[StudyRun, ...]]:
    """Return the runs of each name, evaluations behind what they evaluate (`trainings`: their name -> its name)."""
    folders = {name: out / folder_name(name) for name in configs}
    if len(set(folders.values())) < len(folders):
        raise ValueError(f"{path}: two labels of {list(folders)} would share a folder; rename one.")
    runs: dict[str, tuple[StudyRun, ...]] = {}
    for name, config in configs.items():
        config_path = path.parent / str(config)
        if not config_path.is_file():
            raise FileNotFoundError(f"{path}: '{name}' names {config_path}, which does not exist.")
        trained = runs[trainings[name]] if trainings and name in trainings else [None] * len(seeds)
        runs[name] = tuple(
            StudyRun(name, config_path, seed, tuple(options), folders[name] / f"seed_{seed}", training)
            for seed, training in zip(seeds, trained, strict=True)
        )
    return runs


def _table(where: str, name: str, content: Any, runs: Mapping[str, tuple[StudyRun, ...]]) -> StudyTable:
    _check_keys(where, content, "table")
    columns = _mapping(where, content, "columns") if "columns" in content else {DEFAULT_METRIC: DEFAULT_METRIC}
    columns = {str(head): (found,) if isinstance(found, str) else tuple(found) for head, found in columns.items()}
    rows = {}
    for label, row in _mapping(where, content, "rows").items():
        row = {"run": row} if isinstance(row, str) else row
        _check_keys(f"{where}: {label}", row, "row")
        if row["run"] not in runs:
            raise ValueError(f"{where}: {label} shows {row['run']!r}, which is no training and no evaluation.")
        if not isinstance(row.get("paper", 0.0), int | float):
            raise ValueError(f"{where}: {label}: 'paper' is {row['paper']!r}, wanted is a number.")
        rows[str(label)] = TableRow(runs[row["run"]], row.get("paper"))
    return StudyTable(name, rows, columns, tuple(_claim(where, c, rows, columns) for c in content.get("claims", [])))


def _claim(where: str, content: Any, rows: Mapping[str, TableRow], columns: Mapping[str, Any]) -> Claim:
    _check_keys(f"{where}: a claim", content, "claim")
    column = str(content.get("column", next(iter(columns))))
    claim = Claim(str(content["better"]), str(content["than"]), column, content.get("margin", 0.0))
    for label in (claim.better, claim.than):
        if label not in rows:
            raise ValueError(f"{where}: a claim is about {label!r}, wanted is one of its rows: {', '.join(rows)}.")
    if claim.better == claim.than:
        raise ValueError(f"{where}: a claim compares {claim.better!r} with itself.")
    if claim.column not in columns:
        raise ValueError(f"{where}: a claim is about {claim.column!r}, wanted is one of: {', '.join(columns)}.")
    if not isinstance(claim.margin, int | float) or not claim.margin >= 0:
        raise ValueError(f"{where}: the margin of a claim is {claim.margin!r}, wanted is a number, 0 or more.")
    return claim


class _Loader(yaml.SafeLoader):
    """Refuses names that stand twice, of which YAML's own loaders silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {str(key) for key in keys if keys.count(key) > 1}:
            raise ValueError(f"line {node.start_mark.line + 1}: {', '.join(sorted(twice))} stands there twice.")
        return super().construct_mapping(node, deep)


def _load(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _check_keys(where: str, content: Any, kind: str) -> None:
    required, optional = KEYS[kind]
    if not isinstance(content, dict) or content.keys() - optional != required:
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        also = f" and, if needed, {sorted(optional)}" if optional else ""
        raise ValueError(f"{where}: found {found}, wanted {sorted(required)}{also}.")


def _mapping(where: object, content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if not isinstance(content[name], Mapping) or not content[name]:
        wanted = (
            "'label: config file' in a line each" if name in ("configs", "trainings") else "names and their content"
        )
        raise ValueError(f"{where}: '{name}' is {content[name]!r}, wanted {wanted}.")
    return content[name]
