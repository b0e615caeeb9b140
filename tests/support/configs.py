"""The configs that are run by themselves, and how they are read."""

from functools import cache
from pathlib import Path

from detectron2.config import CfgNode, get_cfg

from icpc_d2.config import add_icpc_config

CONFIGS = Path(__file__).parents[2] / "configs"
RUNNABLE = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml"))
# Fragments are not run by themselves, a study is a list of configs, and `icpc pretrain` trains no segmentation.
FRAGMENTS = ("common/", "pretrain/")
RUNNABLE = [name for name in RUNNABLE if not name.startswith(FRAGMENTS) and "_BASE_" in (CONFIGS / name).read_text()]
PUBLISHED_FOLDERS = ("ade20k/", "ade20k_full/", "coco_stuff_10k/", "cross_domain/")


def read(name: str) -> CfgNode:
    """A copy of a config, read once."""
    return _read(name).clone()


@cache
def _read(name: str) -> CfgNode:
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.merge_from_file(str(CONFIGS / name))
    return cfg
