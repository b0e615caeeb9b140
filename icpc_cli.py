"""The command ``icpc``: each program of this project by a word.

It lies beside the package because importing the package loads PyTorch, which takes seconds. Here help and mistakes are
answered at once, and a command's module is imported when it is called.
"""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

# Command -> its module, whose `main` takes the rest of the command line, and its line of help.
COMMANDS = {
    "train": ("icpc_d2.tools.train", "train a model by a config file"),
    "evaluate": ("icpc_d2.tools.evaluate", "evaluate a checkpoint by a config file"),
    "predict": ("icpc_d2.tools.predict.command", "segment images, folders, videos and what a camera sees"),
    "export": ("icpc_d2.tools.export.command", "write a trained model as ONNX or for torch.export, and check it"),
    "app": ("icpc_d2.tools.app.command", "serve a web page that segments uploaded images"),
    "prepare": ("icpc_d2.tools.prepare.command", "convert a downloaded data set to the layout that Detectron2 reads"),
    "check": ("icpc_d2.tools.check_dataset.command", "read every file of a data set and name every fault"),
    "convert": (
        "icpc_d2.tools.convert_checkpoint",
        "convert weights of DenseCLIP, CLIP and ImageNet ResNets; make one file of a trained model",
    ),
    "pretrain": ("icpc_d2.tools.pretrain.command", "train a small CLIP on drawn pictures with captions"),
    "study": ("icpc_d2.tools.study.command", "train several configs with several seeds and compare them"),
    "visualize": ("icpc_d2.tools.visualize.command", "draw figures of trained models"),
    "flops": ("icpc_d2.tools.flops.command", "count the cost of an image in multiply-adds"),
    "benchmark": ("icpc_d2.tools.benchmark.command", "measure time and memory beside the paper's form"),
    "gpu-report": ("icpc_d2.tools.gpu_report.command", "time trainings and evaluations on a GPU, and report"),
    "table": ("icpc_d2.tools.config_table.command", "write the table of configs/README.md"),
}


def format_help() -> str:
    """Return the list of commands, a line each."""
    lines = [f"  {command:<10} {line}" for command, (_, line) in COMMANDS.items()]
    return "\n".join(["usage: icpc <command> ...", "", *lines, "", "icpc <command> --help says more of each."])


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Run the command that the command line names; return the exit status."""
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("-h", "--help"):
        print(format_help())
        return 0
    if command not in COMMANDS:
        near = get_close_matches(command, COMMANDS, 1)
        question = f" Did you mean '{near[0]}'?" if near else ""
        print(f"icpc: there is no command '{command}'.{question} icpc --help lists all.", file=sys.stderr)
        return 2
    module, _ = COMMANDS[command]
    return import_module(module).main(rest)


if __name__ == "__main__":
    sys.exit(main())
