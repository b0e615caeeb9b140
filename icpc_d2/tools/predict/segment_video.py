"""Segmentation of a video, or of what a camera sees, frame by frame."""

import argparse
import json
from collections.abc import Callable, Collection
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from icpc_d2.files import atomically
from icpc_d2.inference.prediction import Prediction
from icpc_d2.tools.predict.sources import Source
from icpc_d2.tools.predict.video import open_camera, open_video, write_video

# Kinds that are videos themselves; a legend goes beside them, so that frames keep their size.
MOVING: dict[str, Callable[[Prediction, float], np.ndarray]] = {
    "overlay": lambda prediction, alpha: prediction.overlay(alpha, legend=False),
    "color": lambda prediction, alpha: prediction.color(),
    "side-by-side": lambda prediction, alpha: np.hstack([prediction.image, prediction.overlay(alpha, legend=False)]),
}


def video_files(name: str, output: Path, kinds: Collection[str]) -> dict[str, Path]:
    """Return the files of a video's results, by kind; of its label maps, their folder."""
    endings = {"json": ".json", "label": "_label"} | {kind: f"_{kind}.mp4" for kind in MOVING}
    return {kind: output / f"{name}{endings[kind]}" for kind in kinds}


def segment_video(
    predict: Callable[[list[np.ndarray]], list[Prediction]], source: Source, output: Path, args: argparse.Namespace
) -> None:
    """Write the results of a video: a video per moving kind, label maps in a folder, one JSON.

    Args:
        predict: images -> predictions.
        source: a video or a camera, which Ctrl-C ends.
        output: folder; it is made.
        args: of the command line: ``kind``, ``alpha``, ``frames``.

    Raises:
        BadFileError: it cannot be read.
        ImportError: PyAV is missing.
    """
    output.mkdir(parents=True, exist_ok=True)
    frames_json, seen, last, count = [], set(), None, 0
    files = video_files(source.name, output, args.kind)
    with ExitStack() as stack:
        opened = open_camera(int(source.place)) if source.kind == "camera" else open_video(Path(source.place))
        info, frames = stack.enter_context(opened)
        writers = {
            kind: stack.enter_context(write_video(path, info.rate)) for kind, path in files.items() if kind in MOVING
        }
        total = min(args.frames or info.frames, info.frames or args.frames) or None
        progress = stack.enter_context(tqdm(frames, desc=source.name, total=total, unit="frame"))
        try:
            for count, frame in enumerate(islice(progress, args.frames or None), start=1):
                (last,) = predict([frame.image])
                seen.update(np.unique(last.labels).tolist())
                for kind, write in writers.items():
                    write(frame._replace(image=MOVING[kind](last, args.alpha)))
                if "label" in files:
                    last.save(files["label"] / f"{count - 1:06d}.png", "label")
                if "json" in files:
                    frames_json.append({"seconds": float(frame.tick * frame.clock), **last.summary()})
        except KeyboardInterrupt:
            if source.kind != "camera":
                raise
    if last is not None and writers:
        last.save_legend(output / f"{source.name}_legend.png", sorted(seen))
    if "label" in files:
        _remove_frames(files["label"], count)
    if "json" in files:
        with atomically(files["json"]) as temporary:
            temporary.write_text(json.dumps({"frames": frames_json}, indent=1) + "\n", encoding="utf-8")


def _remove_frames(folder: Path, first: int) -> None:
    """Remove the label maps from a frame on, which an earlier run that saw more of the video has left."""
    for path in folder.glob("[0-9]*.png"):
        if path.stem.isdecimal() and int(path.stem) >= first:
            path.unlink()
