"""The table of configs/README.md is what the tool writes: it cannot drift from the rows, the configs and the code."""

import re
from pathlib import Path

import pytest

from icpc_d2.tools.config_table.command import (
    BEGIN,
    END,
    HEADER,
    CostCounter,
    Row,
    format_row,
    format_rows,
    main,
    read_log,
    read_rows,
    replace_table,
)
from tests.support.configs import CONFIGS, PUBLISHED_FOLDERS, RUNNABLE
from tests.support.documents import commands_of

(COMMAND,) = commands_of("CONTRIBUTING.md")
UPDATE = f"run {COMMAND}"


# One network of each kind; `icpc table --check` counts all of them, in a minute.
COUNTED = {
    "ade20k/semantic_fpn_R50.yaml",
    "ade20k/clip_fpn_ViTB.yaml",
    "ade20k/icpc_R50.yaml",
    "ade20k/denseclip_R50.yaml",
    "ade20k/ablations/icpc_from_alignment.yaml",
    "coco_stuff_10k/icpc_ViTB.yaml",
    "ade20k_full/icpc_R50.yaml",
}
COST = {4, 5}  # of the cells


@pytest.fixture(scope="module")
def count() -> CostCounter:
    return CostCounter()


@pytest.mark.slow
def test_the_table_is_up_to_date(count: CostCounter) -> None:
    lines = (CONFIGS / "README.md").read_text().partition(BEGIN)[2].partition(END)[0].split("\n")
    found = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    rows = read_rows()
    assert found[0] == list(HEADER) and len(found) == len(rows) + 2
    for cells, row in zip(found[2:], rows, strict=True):
        wanted = format_row(row, count(row.config) if row.config in COUNTED else None)
        known = [index for index in range(len(wanted)) if row.config in COUNTED or index not in COST]
        if row.config:
            assert [cells[index] for index in known] == [wanted[index] for index in known], UPDATE
            assert all(re.fullmatch(r"\d+\.\d( \+ \d+\.\d)?", cells[index]) for index in COST)
        else:
            assert cells == [cell for cell in wanted if cell], UPDATE


def test_every_config_of_the_paper_has_a_row() -> None:
    rows = {row.config for row in read_rows()} - {""}
    assert rows <= set(RUNNABLE)
    assert {name for name in RUNNABLE if name.startswith(PUBLISHED_FOLDERS) and "/recipes/" not in name} <= rows


def test_our_figures_are_those_of_the_logs(tmp_path: Path) -> None:
    logs = [row.log for row in read_rows() if row.log]
    assert all(1 < read_log(log) < 100 for log in logs)
    (tmp_path / "log.md").write_text("sky 80.0\nmIoU 41.25  fwIoU 50.00\nagain\nmIoU 53.57  fwIoU 82.78\n")
    assert read_log(str(tmp_path / "log.md")) == 53.57
    (tmp_path / "log.md").write_text("not run")
    with pytest.raises(ValueError, match="no line 'mIoU"):
        read_log(str(tmp_path / "log.md"))


def test_published_figures_are_numbers() -> None:
    figures = [figure for row in read_rows() if row.table != "-" for figure in row.published.split(" / ")]
    assert all(5 < float(figure) < 80 for figure in figures)
    assert len(figures) > 80


def test_equal_networks_are_counted_once(count: CostCounter) -> None:
    icpc = count("ade20k/icpc_R50.yaml")
    assert count("ade20k/ablations/gamma_0.1.yaml") is icpc
    denseclip = count("ade20k/denseclip_R50.yaml")
    assert denseclip.ours["text_encoder"] == 0 < denseclip.paper["text_encoder"] < icpc.paper["text_encoder"]
    assert denseclip.paper["alignment"] < icpc.paper["alignment"]
    assert icpc.ours.total() < icpc.paper.total()
    assert "text_encoder" in denseclip.ours and "text_encoder" not in count("ade20k/clip_fpn_R50.yaml").ours


def test_format(count: CostCounter, tmp_path: Path) -> None:
    log = str(tmp_path / "log.md")
    Path(log).write_text("mIoU 82.16")
    rows = [Row("3", "a photo of a [CLASS]", "", "42.9", ""), Row("-", "scenes", "a/b.yaml", "", log)]
    table = format_rows(rows, lambda config: count("quickstart/icpc_tiny.yaml")).splitlines()
    assert table[2] == r"| 3 | a photo of a \[CLASS\] | none | 42.9 |  |  |  |"
    assert table[3].startswith("| - | scenes | [a/b](a/b.yaml) | - | ")
    assert table[3].endswith(f" | 82.2 ([log]({log})) |")


def test_prose_around_the_table_stays() -> None:
    text = (CONFIGS / "README.md").read_text()
    changed = replace_table(text, "| new |")
    assert replace_table(changed, "| new |") == changed
    assert "| new |" in changed and changed.splitlines()[0] == text.splitlines()[0]
    with pytest.raises(ValueError, match="no table between"):
        replace_table("nothing", "| new |")


def test_links_of_the_document_exist() -> None:
    links = re.findall(r"\]\(([\w./]+)\)", (CONFIGS / "README.md").read_text())
    assert [link for link in links if not Path(CONFIGS / link).exists()] == []


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """On a table of one row, in a folder of its own."""
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "base.yaml").touch()
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    rows = tmp_path / "rows.csv"
    rows.write_text("table,row,config,published,log\n-,scenes,,82.2,\n")
    find = "icpc_d2.tools.config_table.command.get_config_file"
    monkeypatch.setattr(find, lambda name: str(tmp_path / name))
    monkeypatch.setattr("icpc_d2.tools.config_table.command.ROWS", rows)
    assert main(["--check"]) == 1
    assert "run this without --check" in capsys.readouterr().out
    assert main([]) == 0
    assert "| - | scenes | none | 82.2 |  |  |  |" in (tmp_path / "README.md").read_text()
    assert main(["--check"]) == 0
