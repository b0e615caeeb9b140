#!/usr/bin/env python
"""Random damage to what users bring: pictures and label maps, checkpoints, configs.

    PYTHONPATH=. python tests/faults/fuzz.py --cases 10000

Whatever comes, a part either does its work or says in its own error what is wrong; nothing hangs, and nothing is left
half written. A failing case is made small and printed; the same `--seed` finds it again.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from detectron2.config import CfgNode, get_cfg
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from icpc_d2.checkpoint import ICPCCheckpointer
from icpc_d2.config import add_icpc_config
from icpc_d2.config.load import ConfigError, leaves, load_config
from icpc_d2.data import BadFileError, SemSegDatasetMapper
from icpc_d2.data.dataset_mapper import training_augmentations
from tests.faults.strategies import checkpoints, configs, default_config, make_model, pictures

NUM_CLASSES = 4
PARTS = ("mapper", "checkpoint", "config")


@cache
def make_mapper() -> SemSegDatasetMapper:
    """One that augments as the paper does, to crops of 16 x 16."""
    cfg = get_cfg()
    add_icpc_config(cfg)
    keys = cfg.INPUT
    keys.FORMAT, keys.MIN_SIZE_TRAIN, keys.MAX_SIZE_TRAIN = "RGB", (16,), 64
    keys.CROP.ENABLED, keys.CROP.SIZE = True, [16, 16]
    augmentations = training_augmentations(cfg, ignore_label=255)
    return SemSegDatasetMapper(True, augmentations=augmentations, image_format="RGB", num_classes=NUM_CLASSES)


def check_mapper(folder: Path, picture: tuple[str, bytes], label: tuple[str, bytes]) -> None:
    """Map one sample."""
    files = {"file_name": folder / f"a.{picture[0]}", "sem_seg_file_name": folder / f"b.{label[0]}"}
    for file, (_, content) in zip(files.values(), (picture, label), strict=True):
        file.write_bytes(content)
    try:
        mapped = make_mapper()({key: str(file) for key, file in files.items()})
    except BadFileError as error:
        assert any(str(file) in str(error) for file in files.values()), error
        return
    assert mapped["image"].shape == (3, 16, 16)
    assert mapped["image"].dtype == torch.uint8
    assert mapped["sem_seg"].shape == (16, 16)
    assert set(mapped["sem_seg"].unique().tolist()) <= {*range(NUM_CLASSES), 255}


def check_checkpoint(folder: Path, file: tuple[bytes, bool], name: str) -> None:
    """Load weights from one; no weight becomes another by damage or where a file is refused, and nothing is written."""
    content, is_ours = file
    (folder / name).write_bytes(content)
    before = sorted(folder.rglob("*"))
    model = make_model()
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    is_refused = False
    try:
        ICPCCheckpointer(model, class_names=["a", "b", "c"]).load(str(folder / name), checkpointables=[])
    except ValueError as error:
        assert len(str(error)) > 20, error
        is_refused = True
    if is_ours or is_refused:
        assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())
    assert sorted(folder.rglob("*")) == before


def check_config(folder: Path, text: str, options: list[str]) -> None:
    """Read one; what is accepted has the type of its default, and nothing is written."""
    (folder / "a.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    before = sorted(folder.rglob("*"))
    try:
        cfg = load_config(str(folder / "a.yaml"), options)
    except ConfigError as error:
        assert len(str(error)) > 20, error
    else:
        assert isinstance(cfg, CfgNode)
        for key, value in leaves(cfg):
            default = default_config()[key]
            assert default is None or type(value) is type(default), (key, value)
    assert sorted(folder.rglob("*")) == before


def make_test(part: str, cases: int, start: int = 0) -> Callable[[], None]:
    """The test of one part, as a function that hypothesis calls so many times, with the random numbers of a seed."""
    strategies = {
        "mapper": (check_mapper, st.tuples(pictures(256), pictures(NUM_CLASSES))),
        "checkpoint": (
            check_checkpoint,
            st.tuples(checkpoints(), st.sampled_from(["a.pth", "a.pt", "a.safetensors", "a.pkl"])),
        ),
        "config": (check_config, configs()),
    }
    check, cases_of = strategies[part]

    @seed(start)
    @settings(max_examples=cases, deadline=10_000, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(cases_of)
    def test(case: tuple[Any, ...]) -> None:
        with tempfile.TemporaryDirectory(prefix="icpc_d2-fuzz-") as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(Path(folder), *case)

    return test


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="of all parts together")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    for part in args.parts:
        began = time.monotonic()
        make_test(part, args.cases // len(args.parts) + 1, args.seed)()
        print(f"{part}: {args.cases // len(args.parts) + 1} cases, {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
