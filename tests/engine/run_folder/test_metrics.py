import json
from pathlib import Path

import pytest

from icpc_d2.engine.run_folder.metrics import find_runs, metric_curve, read_metrics, read_result


def write(folder: Path, *lines: dict | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.json").write_text(text)
    return folder


def test_a_curve_has_each_evaluation_once_the_later_one_if_resumed(tmp_path: Path) -> None:
    lines = [{"iteration": i, "total_loss": 1.0} for i in range(3)]
    evaluated = [
        {"iteration": i, "sem_seg/mIoU": v, "sem_seg/IoU-sky": 0.0} for i, v in ((10, 1.0), (20, 9.0), (20, 2.0))
    ]
    curve = metric_curve(write(tmp_path, *lines, *evaluated), "mIoU")
    assert (list(curve.iterations), list(curve.values)) == ([10, 20], [1.0, 2.0])


def test_a_data_set_among_several_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"iteration": 5, "folder:a/b/val/sem_seg/mIoU": 3.0})
    assert list(metric_curve(tmp_path, "folder:a/b/val/mIoU").values) == [3.0]
    with pytest.raises(ValueError, match="no 'sem_seg/mIoU'; wanted is one of: folder:a/b/val/mIoU"):
        metric_curve(tmp_path, "mIoU")


def test_a_run_without_evaluation_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no evaluation \(TEST.EVAL_PERIOD\)"):
        metric_curve(write(tmp_path, {"iteration": 1}), "mIoU")


def test_a_torn_line_is_skipped(tmp_path: Path) -> None:
    write(tmp_path, {"iteration": 1}, '{"iteration": 2, "to{"iteration": 3}\n', {"iteration": 4})
    assert [line["iteration"] for line in read_metrics(tmp_path)] == [1, 4]
    assert read_metrics(tmp_path / "nowhere") == []


def test_results_of_one_and_of_several_data_sets(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"mIoU": 12.5, "IoU-sky": null}')
    assert read_result(tmp_path, "mIoU") == 12.5
    with pytest.raises(ValueError, match="no figure 'IoU-sky'"):
        read_result(tmp_path, "IoU-sky")
    (tmp_path / "results.json").write_text('{"camvid": {"mIoU": 2}}')
    assert read_result(tmp_path, "camvid/mIoU") == 2.0
    with pytest.raises(ValueError, match="no figure 'mIoU'"):
        read_result(tmp_path, "mIoU")


def test_runs_are_found_in_a_folder_or_are_it(tmp_path: Path) -> None:
    for seed in (1, 0):
        write(tmp_path / "study" / f"seed_{seed}", {})
    assert find_runs(tmp_path / "study") == [tmp_path / "study" / f"seed_{seed}" for seed in (0, 1)]
    assert find_runs(tmp_path / "study" / "seed_1") == [tmp_path / "study" / "seed_1"]
    with pytest.raises(FileNotFoundError, match="no metrics.json"):
        find_runs(tmp_path)
