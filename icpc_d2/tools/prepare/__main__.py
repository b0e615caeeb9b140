"""Prepare a data set: ``python -m icpc_d2.tools.prepare SET``."""

import importlib
import sys

SETS = (
    "ade20k",
    "ade20k_full",
    "camvid",
    "cityscapes",
    "coco_stuff_10k",
    "coco_stuff_164k",
    "isaid",
    "pascal_context",
    "voc",
)


def main() -> int:
    """Run the recipe of the set that the command line names."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in SETS:
        print(f"found the data set {name!r}; wanted is one of: {', '.join(SETS)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"icpc_d2.tools.prepare.{name}")
    preparations = [value for value in vars(module).values() if isinstance(value, module.Preparation)]
    return module.main(*preparations) if name != "isaid" else module.main()


if __name__ == "__main__":
    sys.exit(main())
