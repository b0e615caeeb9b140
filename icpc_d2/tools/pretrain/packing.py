"""The result of a pretraining as the small file that can be shipped, and its card."""

import json
from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode

from icpc_d2.checkpoint.checkpoint_folder import FINAL
from icpc_d2.checkpoint.clip_weights import read_weights
from icpc_d2.checkpoint.download import sha256_of
from icpc_d2.checkpoint.packed_clip import write_packed
from icpc_d2.data.captioned_pictures import caption_tokens
from icpc_d2.data.scenes.archive import SceneRecord
from icpc_d2.data.scenes.captioned import SYNONYMS
from icpc_d2.evaluation.zero_shot import TEMPLATES
from icpc_d2.files import atomically
from icpc_d2.tools.pretrain.trainer import build_scenes

# Scenes whose captions are looked through; they are made of the same words as all others.
NUM_SCENES = 4000


def pack_final(cfg: CfgNode, path: Path) -> str:
    """Write a finished training's weights to `path` and their card beside it; return a line about them.

    Raises:
        FileNotFoundError: the training is not finished.
    """
    final = Path(cfg.OUTPUT_DIR, FINAL)
    if not final.is_file():
        raise FileNotFoundError(f"--pack: there is no {final}; wanted is a finished training.")
    content = read_weights(str(final))
    path.parent.mkdir(parents=True, exist_ok=True)
    tokens = tokens_used(build_scenes(cfg, "train"), NUM_SCENES)
    write_packed(path, content["model"], tokens, content["quick_gelu"])
    with atomically(path.with_suffix(".md")) as temporary:
        temporary.write_text(write_card(cfg, path, len(tokens)), encoding="utf-8")
    return f"{path}: {path.stat().st_size / 1e6:.2f} MB, embeddings of {len(tokens)} tokens, SHA-256 {sha256_of(path)}"


def tokens_used(scenes: Sequence[SceneRecord], count: int) -> list[int]:
    """Return the ids of all tokens in the captions of the first scenes, in the evaluation's texts and in all names."""
    texts = {template.format(name) for template in TEMPLATES for names in SYNONYMS.values() for name in names}
    for index in range(min(count, len(scenes))):
        texts.update(scenes[index].captions)
    return sorted({token for text in texts for token in caption_tokens(text).tolist()})


def write_card(cfg: CfgNode, path: Path, num_tokens: int) -> str:
    """Write what the file is, what it was trained on and how, and what it can do, as Markdown."""
    results = json.loads(Path(cfg.OUTPUT_DIR, "results.json").read_text(encoding="utf-8"))
    figures, provenance = results["scenes/zero_shot"], results["provenance"]
    keys, solver, hardware = cfg.PRETRAIN, cfg.SOLVER, provenance["hardware"]
    commit = (provenance["git"] or {}).get("commit", "unknown")
    main = [(name, value) for name, value in figures.items() if not name.startswith(("AP-", "IoU-"))]
    rows = "\n".join(f"| {name} | {value:.1f} |" for name, value in main if value is not None)
    kinds = ", ".join(f"{name[3:]} {value:.0f}" for name, value in figures.items() if name.startswith("AP-"))
    classes = ", ".join(f"{name[4:]} {value:.0f}" for name, value in figures.items() if name.startswith("IoU-"))
    gpus = ", ".join(hardware["gpus"]) or "none"
    words = [word for word in provenance["command"][1:] if word != "pretrain"]  # by `icpc` or by the module
    command = " ".join(["icpc pretrain", *words])
    return f"""# {path.stem}

A CLIP (`MODEL.CLIP.ARCH {cfg.MODEL.CLIP.ARCH}`) for experiments and tests, trained on drawn pictures with captions: it
knows the words of these captions and nothing else of the world. `MODEL.WEIGHTS clip://{path.stem}` loads it.

- File: `{path.name}`, {path.stat().st_size / 1e6:.2f} MB, SHA-256 `{sha256_of(path)}`. Half precision; embeddings of
  the {num_tokens} tokens of the captions, those of all other tokens are drawn from a seed when it is loaded.
- Data: {keys.NUM_SCENES} scenes of `icpc_d2/data/scenes/captioned.py`, styles in turns {", ".join(keys.STYLES)};
  crops of {keys.MIN_CROP:g} to 1 of the sides at {keys.SIZE[0]} x {keys.SIZE[1]} pixels. Drawings of each scene, in
  different colours: {keys.PAINTS}; close-ups of each drawing: {keys.CLOSE_UPS}. Nothing is from elsewhere.
- Training: {solver.MAX_ITER} iterations of {solver.IMS_PER_BATCH} pictures, seed {provenance["seed"]},
  {provenance["time"]}, commit {commit}; GPUs: {gpus}; torch {provenance["packages"]["torch"]}. The command:

      {command}

- Licence: that of this project, Apache-2.0.

On {keys.NUM_VAL_SCENES} scenes that it was not trained on, without a label, in percent (AP by kind, then IoU by class
of the alignment A, below the table):

| figure | |
|---|---|
{rows}

AP: {kinds}.

IoU: {classes}.
"""
