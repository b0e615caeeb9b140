"""Write the table of configs/README.md: each row of the paper, its config, the published figure, its cost, our figure.

icpc table [--check]

Rows, published figures and the logs of our runs stand in icpc_d2/tools/config_table/paper_rows.csv. Costs are counted.
"""

import argparse
import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from icpc_d2.analysis.cost import count_both_forms
from icpc_d2.analysis.random_models import load_resolved_config
from icpc_d2.config import get_config_file
from icpc_d2.config.load import leaves

ROWS = Path(__file__).with_name("paper_rows.csv")
BEGIN, END = "<!-- begin: icpc table -->", "<!-- end -->"
HEADER = ("table", "row", "config", "paper, mIoU", "GMACs, ours", "GMACs, paper's form", "ours, mIoU")
IMAGE_SIZE = 1024
# What the cost of an image does not depend on.
NO_COST = ("WEIGHTS", "CONTRASTIVE.", "PIXEL_MEAN", "PIXEL_STD", "ALIGNMENT.LOSS_WEIGHT")


class Row(NamedTuple):
    """A row of the paper."""

    table: str  # its number, "-" for what is not in the paper
    row: str  # what it is called there
    config: str  # path below ``configs/``; empty: there is none
    published: str  # mIoU in percent, one figure or several
    log: str  # of our run, as a path from ``configs/``; empty: not run


class Counts(NamedTuple):
    """Multiply-adds of an image by part, ours and in the paper's form."""

    ours: Counter[str]
    paper: Counter[str]


def read_rows() -> list[Row]:
    """Read all rows, in the paper's order."""
    with ROWS.open(newline="") as file:
        return [Row(**row) for row in csv.DictReader(file)]


class CostCounter:
    """Counts the cost of configs, once for all that build the same network."""

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {}

    def __call__(self, config: str) -> Counts:
        """Count a config, given by its path below ``configs/``, for one image of 1024 x 1024 pixels."""
        cfg = load_resolved_config(get_config_file(config), device="meta")
        network = [(key, value) for key, value in leaves(cfg.MODEL) if not key.startswith(NO_COST)]
        key = f"{network}\n{cfg.DATASETS.TRAIN}"
        if key not in self._counts:
            self._counts[key] = Counts(*count_both_forms(cfg, IMAGE_SIZE, IMAGE_SIZE))
        return self._counts[key]


def format_rows(rows: Sequence[Row], count: Callable[[str], Counts]) -> str:
    """Write the rows as a table in Markdown, links relative to ``configs/``."""
    lines = [HEADER, ["---"] * len(HEADER)]
    lines += [format_row(row, count(row.config) if row.config else None) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def format_row(row: Row, counts: Counts | None) -> list[str]:
    """Return the cells of a row; those of its cost are empty without `counts`."""
    name = row.row.replace("[", r"\[").replace("]", r"\]")
    config = f"[{row.config.removesuffix('.yaml')}]({row.config})" if row.config else "none"
    costs = [_format_cost(cost) for cost in counts] if counts else ["", ""]
    ours = f"{read_log(row.log):.1f} ([log]({row.log}))" if row.log else "not run" if row.config else ""
    return [row.table, name, config, row.published or "-", *costs, ours]


def read_log(log: str) -> float:
    """Return the mIoU, in percent, that a log reports in its table's last line.

    Raises:
        ValueError: there is none.
    """
    figures = re.findall(r"^mIoU (\d+\.\d+)", (_readme().parent / log).read_text(), re.MULTILINE)
    if not figures:
        raise ValueError(f"{log} has no line 'mIoU ...' as evaluations log it.")
    return float(figures[-1])


def replace_table(text: str, table: str) -> str:
    """Return the text of ``configs/README.md`` with this table in place of the one in it.

    Raises:
        ValueError: the marks around the table are missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"configs/README.md has no table between '{BEGIN}' and '{END}'.")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def _format_cost(macs: Counter[str]) -> str:
    text = f" + {macs['text_encoder'] / 1e9:.1f}" if "text_encoder" in macs else ""
    return f"{(macs.total() - macs['text_encoder']) / 1e9:.1f}{text}"


def _readme() -> Path:
    return Path(get_config_file("common/base.yaml")).parents[1] / "README.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 1 if ``--check`` finds another table than it would write."""
    parser = argparse.ArgumentParser(prog="icpc table", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail if something would change")
    args = parser.parse_args(arguments)
    readme = _readme()
    found = readme.read_text()
    wanted = replace_table(found, format_rows(read_rows(), CostCounter()))
    if args.check:
        print(f"{readme}: {'as it should be' if found == wanted else 'run this without --check'}")
        return int(found != wanted)
    readme.write_text(wanted)
    print(readme)
    return 0
