"""Studies with a script in place of ``train_net.py`` that takes its command line and trains in no time."""

from pathlib import Path

from icpc_d2.tools.study import command

# Ten times the seed plus the learning rate is its mIoU. An evaluation's is what it has read from the weights, less 1,
# and by snow 4 less. It notes its starts, fails if a file tells it to, and hangs likewise.
SCRIPT = """
import json, os, sys, time
flag, config, kind, *options = sys.argv[1:]
assert (flag, kind) in (("--config-file", "--resume"), ("--config-file", "--eval-only"))
options = dict(zip(options[::2], options[1::2]))
out = options["OUTPUT_DIR"]
with open(os.path.join(out, "starts.txt"), "a") as file:
    file.write(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']} {os.environ.get('CUDA_VISIBLE_DEVICES')}\\n")
def evaluate(iteration, value):
    if kind == "--resume":
        with open(os.path.join(out, "metrics.json"), "a") as file:
            file.write(json.dumps({"iteration": iteration, "sem_seg/mIoU": value}) + "\\n")
    results = {"mIoU": value}
    if any("night" in line for line in open(config)):
        results = {"night": {"mIoU": value}, "snow": {"mIoU": value - 4}}
    with open(os.path.join(out, "results.json"), "w") as file:
        json.dump(results, file)
if kind == "--eval-only":
    evaluate(0, float(open(options["MODEL.WEIGHTS"]).read()) - 1)
    sys.exit()
evaluate(10, 1.0)
folder = os.path.dirname(config)
name = os.path.basename(out)
if os.path.exists(os.path.join(folder, f"hang_{name}")):
    time.sleep(60)
if os.path.exists(os.path.join(folder, f"fail_{name}")):
    sys.exit("no luck")
rate = float([line.split(":")[1] for line in open(config) if "BASE_LR" in line][0])
value = 10 * int(options["SEED"]) + rate + float(options.get("SOLVER.GAMMA", 0))
evaluate(20, value)
with open(os.path.join(out, "model_final.pth"), "w") as file:
    file.write(str(value))
"""


def run(folder: Path, *arguments: str) -> int:
    """Run ``folder/study.yaml`` with ``folder/script.py`` into ``folder/out``."""
    script = str(folder / "script.py")
    return command.main([str(folder / "study.yaml"), "--out", str(folder / "out"), "--script", script, *arguments])


def starts(folder: Path) -> dict[str, int]:
    """Return how often each run was started: "label/seed_0" -> number."""
    return {
        f"{path.parent.parent.name}/{path.parent.name}": len(path.read_text().splitlines())
        for path in (folder / "out").glob("*/*/starts.txt")
    }
