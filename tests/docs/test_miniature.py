"""docs/miniature.md: its commands on a few small pictures, with the plan cut down to three rows and one seed."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import open_clip
import pytest
import yaml

from icpc_d2.checkpoint import sources
from icpc_d2.checkpoint.packed_clip import write_packed
from icpc_d2.modeling.clip import get_architecture
from icpc_d2.tools.study import command, schedule
from icpc_d2.tools.study.plan import read_study
from icpc_d2.tools.visualize import command as visualize
from tests.support.documents import ROOT, SMALL, commands_of, read, run
from tests.support.programs import Forked

KEPT = {"Table 9": ("ICPC",), "Table 11": ("DenseCLIP, decoder", "ICPC, decoder", "ICPC, A")}


def cut_down(path: Path) -> None:
    """Leave three rows of two tables, and two iterations of each training."""
    plan = yaml.safe_load(path.read_text())
    tables = {}
    for name, labels in KEPT.items():
        rows = {label: plan["tables"][name]["rows"][label] for label in labels}
        claims = [claim for claim in plan["tables"][name]["claims"] if {claim["better"], claim["than"]} <= set(labels)]
        tables[name] = plan["tables"][name] | {"rows": rows, "claims": claims}
    shown = {row["run"] for table in tables.values() for row in table["rows"].values()}
    plan |= {"tables": tables, "seeds": [0], "options": SMALL}
    for kind in ("trainings", "evaluations"):
        plan[kind] = {name: entry for name, entry in plan[kind].items() if name in shown}
    path.write_text(yaml.safe_dump(plan, sort_keys=False))


@pytest.fixture
def random_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights in place of those that come with the package."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    weights = open_clip.model.CLIP(**get_architecture("tiny-RN")).state_dict()
    write_packed(folder / "tiny-RN.safetensors", weights, range(1000), quick_gelu=True)
    monkeypatch.setattr(sources, "SHIPPED", folder)


@pytest.mark.slow
def test_commands(clone: Path, few_scenes: None, random_clip: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (clone / "configs").unlink()
    shutil.copytree(ROOT / "configs", clone / "configs")
    cut_down(clone / "configs/miniature/plan.yaml")
    small, many, camvid, *figures = commands_of("docs/miniature.md")
    for words in (shlex.split(line)[2:] for line in (many, camvid)):
        args = command.parse_args(words)  # as the first one, but longer
        assert len(read_study(args.study, args.out, args.options, args.num_seeds).metrics) in (25 * 4, 5 * 2)
    with monkeypatch.context() as patch:
        # tests/tools/test_study.py starts the script as it is.
        patch.setattr(schedule, "subprocess", SimpleNamespace(Popen=Forked, STDOUT=subprocess.STDOUT))
        run(small, monkeypatch)
    tables = json.loads((clone / "output/miniature/results.json").read_text())["tables"]
    crossed = tables["Table 9"]["ICPC"]
    assert crossed["mean"]["mean"] == pytest.approx(
        sum(crossed[kind]["mean"] for kind in ("night", "line drawing", "snow")) / 3
    )
    assert 0 < tables["Table 11"]["ICPC, A"]["mIoU"]["mean"] != tables["Table 11"]["ICPC, decoder"]["mIoU"]["mean"] > 0
    curves, before, *drawn = figures
    run(curves, monkeypatch)
    assert (clone / "curves.svg").stat().st_size > 1000
    run(before, monkeypatch, SMALL[2:])
    for line in drawn:  # docs/figures.md has the same commands, which are run
        args = visualize.parse_args(shlex.split(line)[2:])
        assert all(Path(model.partition("=")[2], "model_final.pth").is_file() for model in args.models)


def test_the_plan_on_the_page_can_be_read(tmp_path: Path) -> None:
    text = read("docs/miniature.md").split("```yaml\n")[1].split("```")[0]
    (tmp_path / "plan.yaml").write_text(text)
    for name in ("baseline", "mine"):
        (tmp_path / f"{name}.yaml").write_text("VERSION: 2\nDATASETS:\n  TEST: [my_val]\n")
    (tmp_path / "night.yaml").write_text("_BASE_: mine.yaml\nDATASETS:\n  TEST: [my_night_val, my_snow_val]\n")
    study = read_study(tmp_path / "plan.yaml", tmp_path / "out")
    study.check_metrics()
    assert len(study.metrics) == 15 and len(study.tables[0].claims) == 1
