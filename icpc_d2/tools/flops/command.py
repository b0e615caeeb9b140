"""Multiply-adds (GMACs) and parameters of a config's model, by part. Needs neither data nor weights nor network.

icpc flops --config-file configs/ade20k/icpc_R50.yaml [--shape 1024 1024] [KEY VALUE ...]

`--reference` counts the paper's own form instead: the text encoder on a whole prompt of N + 6 tokens per class (N + 5
without an instance token, as in DenseCLIP), and the alignment with every up-sampling as it stands.
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from icpc_d2.analysis.cost import PARTS, Cost, count_cost
from icpc_d2.analysis.random_models import load_resolved_config
from icpc_d2.tools.flops.sweep import plot_cost_curves


def format_cost(cost: Cost) -> str:
    """Format a table with rows of parts, and columns of GMACs and parameters."""
    columns = {"image": cost.image}
    # Models without text, and the paper's form, have one cost alone.
    if cost.naive is not cost.image:
        columns |= {"first image": cost.first_image, "training, forward": cost.training, "naive": cost.naive}
    counters = [*columns.values(), cost.params]
    rows = [(name, [c[name] for c in counters]) for name in PARTS if any(c[name] for c in counters)]
    rows.append(("total", [c.total() for c in counters]))
    if cost.params["text_encoder"]:
        rows.append(("without text encoder", [c.total() - c["text_encoder"] for c in counters]))
    lines = [[f"{'GMACs':20}", *(f"{name:>17}" for name in columns), f"{'params (M)':>12}"]]
    for name, (*macs, params) in rows:
        lines.append([f"{name:20}", *(f"{value / 1e9:17.2f}" for value in macs), f"{params / 1e6:12.2f}"])
    return "\n".join(" ".join(line) for line in lines)


def parse_args(arguments: Sequence[str] | None) -> Namespace:
    """Read the command line."""
    parser = ArgumentParser("icpc flops", description=__doc__.splitlines()[0])
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--shape", nargs=2, type=int, default=(1024, 1024), metavar=("H", "W"), help="pixels")
    parser.add_argument("--classes", type=int, default=0, metavar="K", help="other than the config's")
    parser.add_argument("--reference", action="store_true", help="count the paper's own form")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the figures to this file")
    parser.add_argument("--sweep", type=Path, metavar="OUT", help="plot cost against K and image size instead (.svg)")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="changes of the config")
    # Intermixed, so that KEY VALUE may stand before or after the flags.
    return parser.parse_intermixed_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = parse_args(arguments)
    if args.sweep:
        plot_cost_curves(args.config_file, args.options, args.sweep)
        print(args.sweep)
        return
    cfg = load_resolved_config(args.config_file, args.options, args.classes)
    cost = count_cost(cfg, *args.shape, reference=args.reference)
    form = ", the paper's form" if args.reference else ""
    print(f"{args.config_file}, one image of {args.shape[0]} x {args.shape[1]} pixels{form}\n")
    print(format_cost(cost))
    if args.json:
        args.json.write_text(json.dumps(cost.summary(), indent=2) + "\n")
