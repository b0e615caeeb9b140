"""The configs that are run by themselves."""

from pathlib import Path

CONFIGS = Path(__file__).parents[2] / "configs"
RUNNABLE = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml"))
# Fragments are not run by themselves, and a study is a list of configs.
RUNNABLE = [name for name in RUNNABLE if not name.startswith("common/") and "_BASE_" in (CONFIGS / name).read_text()]
PUBLISHED_FOLDERS = ("ade20k/", "ade20k_full/", "coco_stuff_10k/", "cross_domain/")
