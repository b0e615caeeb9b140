import json
from pathlib import Path

from icpc_d2.evaluation import results_table, write_results

FIGURES = {
    "mIoU": 60.123,
    "fwIoU": 70.0,
    "IoU-sky": 80.0,
    "IoU-boat": float("nan"),
    "mACC": 65.0,
    "pACC": 90.0,
    "ACC-sky": 85.0,
    "ACC-boat": float("nan"),
}


def test_one_data_set(tmp_path: Path) -> None:
    path = write_results({"sem_seg": FIGURES}, str(tmp_path / "new"))
    assert path == str(tmp_path / "new" / "results.json")
    expected = FIGURES | {"IoU-boat": None, "ACC-boat": None}
    assert json.loads(Path(path).read_text(), parse_constant=lambda name: 1 / 0) == expected


def test_several_data_sets_are_named(tmp_path: Path) -> None:
    results = {"first": {"sem_seg": FIGURES}, "second": {"sem_seg": FIGURES | {"mIoU": 1.0}}}
    found = json.loads(Path(write_results(results, str(tmp_path))).read_text())
    assert {name: figures["mIoU"] for name, figures in found.items()} == {"first": 60.123, "second": 1.0}


def test_table() -> None:
    assert results_table({"sem_seg": FIGURES}).splitlines() == [
        "class       IoU    accuracy",
        "-------  ------  ----------",
        "sky       80.00       85.00",
        "boat     absent      absent",
        "mIoU 60.12  fwIoU 70.00  mACC 65.00  pACC 90.00",
    ]


def test_tables_of_several_data_sets_have_titles() -> None:
    tables = results_table({"first": {"sem_seg": FIGURES}, "second": {"sem_seg": FIGURES}})
    assert [part.splitlines()[0] for part in tables.split("\n\n")] == ["first", "second"]


def test_other_tasks_are_named(tmp_path: Path) -> None:
    one = {"sem_seg": FIGURES, "sem_seg_shared": FIGURES | {"mIoU": 1.0}}
    found = json.loads(Path(write_results(one, str(tmp_path))).read_text())
    assert {name: figures["mIoU"] for name, figures in found.items()} == {"sem_seg": 60.123, "sem_seg_shared": 1.0}
    found = json.loads(Path(write_results({"voc": one}, str(tmp_path))).read_text())
    assert {name: figures["mIoU"] for name, figures in found.items()} == {"voc": 60.123, "voc/sem_seg_shared": 1.0}
    assert "voc/sem_seg_shared" in results_table({"voc": one}).splitlines()
