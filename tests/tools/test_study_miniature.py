"""The plan of the paper's tables in miniature, without a run of it."""

from pathlib import Path

from icpc_d2.config import get_config_file
from icpc_d2.tools.config_table.command import read_rows
from icpc_d2.tools.study.plan import read_study
from icpc_d2.tools.study.tables import Study
from tests.support.configs import CONFIGS, RUNNABLE
from tests.support.documents import read


def read_plan(name: str, *options: str) -> Study:
    return read_study(Path(get_config_file(f"miniature/{name}.yaml")), Path("out"), options)


PLAN = read_plan("plan")


def test_all_configs_stand_in_a_plan_and_each_is_trained_once() -> None:
    camvid = read_plan("camvid")
    found = [run.config.resolve() for run in [*PLAN.metrics, *camvid.metrics] if run.seed == 0]
    mine = {(CONFIGS / name).resolve() for name in RUNNABLE if name.startswith("miniature/")}
    assert {path for path in found if path.parent.name == "miniature"} == mine
    assert len(found) == len(set(found))
    trainings = {run for run in PLAN.metrics if run.training is None}
    assert len(trainings) == 29 * 5
    assert len({run.folder for run in PLAN.metrics}) == len(PLAN.metrics) == 41 * 5


def test_every_column_will_have_figures() -> None:
    PLAN.check_metrics()
    read_plan("camvid").check_metrics()


def test_the_papers_figures_are_those_of_the_other_table() -> None:
    """Each row's figure is one that configs/README.md has for the same table; of Table 9 the mean."""
    published = {}
    for row in read_rows():
        figures = [float(figure) for figure in row.published.split(" / ")] if row.table != "-" else []
        means = [sum(figures) / len(figures)] if row.table == "9" else figures
        published.setdefault(row.table, set()).update(round(figure, 2) for figure in means)
    for table in PLAN.tables:
        number = table.name.removeprefix("Table ").partition(",")[0]
        figures = {row.published for row in table.rows.values()} - {None}
        if number == "10":
            figures -= {43.5}  # DenseCLIP with CLIP's encoder, which the text compares with
        assert figures <= published[number], table.name


def test_the_page_has_all_tables_rows_and_claims() -> None:
    page = read("docs/miniature.md")
    for table in PLAN.tables:
        assert f"**{table.name}**" in page
        for label in table.rows:
            assert f"| {label} " in page, label
        assert page.count(f"| {table.name} ") == len(table.claims), table.name
