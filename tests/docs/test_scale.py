"""docs/scale.md: its commands, that of torchrun process by process, and those of Ray without a cluster."""

import argparse
import re
from pathlib import Path

import pytest

from icpc_d2.inference.exported_predictor import load_predictor
from icpc_d2.tools.predict import command as predict
from icpc_d2.tools.predict.source_predictor import SourcePredictor
from tests.support.checkpoints import tiny_cfg, write_checkpoint
from tests.support.datasets import random_image, save
from tests.support.documents import commands_of, run


def test_scale(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(clone / "output/quickstart", tiny_cfg())
    for index in range(3):
        save(clone / f"photos/{index}.png", random_image())
    (clone / "list.txt").write_text("photos/0.png\nphotos/1.png\nphotos/2.png\n")
    alone, together, part, local, cluster = commands_of("docs/scale.md")
    run(alone, monkeypatch)
    labels = {path.name for path in (clone / "output/all").glob("*.png")}
    assert labels == {f"{index}_label.png" for index in range(3)}
    (clone / "output/all/2_label.png").unlink()

    count = re.match(r"torchrun --nproc-per-node (\d+) -m icpc_d2 predict ", together)[1]
    for rank in range(int(count)):
        with monkeypatch.context() as patch:
            for name, value in (("RANK", str(rank)), ("WORLD_SIZE", count), ("LOCAL_RANK", str(rank))):
                patch.setenv(name, value)
            run("icpc " + together.partition(" -m icpc_d2 ")[2], monkeypatch)
    assert {path.name for path in (clone / "output/all").glob("*.png")} == labels

    run(part, monkeypatch)
    assert {path.name for path in (clone / "output/part").glob("*.png")} == {"1_label.png"}

    addresses = []

    def start_nothing(args: argparse.Namespace) -> SourcePredictor:
        addresses.append(args.ray_address)
        return SourcePredictor(load_predictor(args.weights, "cpu"), args)

    monkeypatch.setattr(predict, "RayEngine", start_nothing)
    for command in (local, cluster):
        run(command, monkeypatch)
        assert {path.name for path in (clone / "output/ray").glob("*.png")} == labels
    assert addresses == [None, "10.0.0.1:6379"]
