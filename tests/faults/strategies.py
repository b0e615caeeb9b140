"""What users may bring, as hypothesis draws it: pictures, checkpoints, configs; whole, damaged, or something else."""

import io
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from detectron2.config import get_cfg
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from icpc_d2 import add_icpc_config
from icpc_d2.checkpoint import ICPCCheckpointer
from icpc_d2.config.load import leaves

FORMATS = {
    "png": ("L", "P", "RGB", "RGBA", "I;16", "1", "LA"),
    "jpg": ("L", "RGB", "CMYK"),
    "tif": ("L", "RGB", "F", "I"),
}


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content as it is, or cut, or with other bytes here and there."""
    kind = draw(st.sampled_from(["whole", "cut", "changed", "changed", "other"]))
    if kind == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if kind == "other":
        return draw(st.binary(max_size=200))
    changed = bytearray(content)
    if kind == "changed":
        places = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
        for place, value in draw(st.lists(places, max_size=8)):
            changed[place] = value
    return bytes(changed)


@st.composite
def pictures(draw: st.DrawFn, values: int) -> tuple[str, bytes]:
    """The ending and the content of a small picture of any kind, its pixels below `values`, maybe damaged."""
    ending = draw(st.sampled_from(sorted(FORMATS)))
    mode = draw(st.sampled_from(FORMATS[ending]))
    height, width = draw(st.sampled_from([(1, 1), (8, 6), (8, 6), (33, 40)]))
    pixels = np.random.default_rng(draw(st.integers(0, 99))).integers(0, values, (height, width), dtype=np.uint8)
    plain = Image.fromarray(pixels)
    picture = Image.fromarray(pixels.astype(np.uint16)) if mode == "I;16" else plain.convert(mode)
    file = io.BytesIO()
    picture.save(file, {"jpg": "JPEG", "tif": "TIFF", "png": "PNG"}[ending])
    return ending, draw(damaged(file.getvalue()))


def make_model() -> nn.Module:
    """A model whose weights tell whether they were touched."""
    model = nn.Linear(5, 3)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7.0)
    return model


@cache
def whole_checkpoint() -> bytes:
    """The bytes of a checkpoint with a training's state."""
    with tempfile.TemporaryDirectory() as folder:
        model = make_model()
        optimizer = torch.optim.AdamW(model.parameters())
        ICPCCheckpointer(model, folder, class_names=["a", "b", "c"], optimizer=optimizer).save("model", iteration=3)
        return Path(folder, "model.pth").read_bytes()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(width=16) | st.text(max_size=4) | st.just(torch.ones(3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(0, 3), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(["model", "state_dict", "class_names", "optimizer", "matching_heuristics", "weight", "bias"])


@st.composite
def checkpoints(draw: st.DrawFn) -> tuple[bytes, bool]:
    """The content of a checkpoint, maybe damaged, or of a file that holds something else; whether it is the former."""
    if draw(st.booleans()):
        return draw(damaged(whole_checkpoint())), True
    content: Any = draw(PLAIN | st.dictionaries(KEYS, PLAIN, max_size=3))
    if isinstance(content, dict) and draw(st.booleans()):
        content["model"] = make_model().state_dict() | draw(st.dictionaries(KEYS, PLAIN, max_size=1))
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue(), False


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(-5, 5) | st.text(max_size=2), max_size=3),
    st.dictionaries(st.text(max_size=3) | st.integers(0, 3), st.integers(), max_size=2),
    st.sampled_from(["('a', 1)", "((((", "1e999", "[1, 2", "None", "{'a': 1}", "!!python/name:os.system", "9" * 5000]),
)


@cache
def default_config() -> dict[str, Any]:
    """Every key with its default."""
    cfg = get_cfg()
    add_icpc_config(cfg)
    return dict(leaves(cfg))


@st.composite
def configs(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A config file's text, and pairs of the command line."""
    known = st.sampled_from(sorted(default_config()))
    keys = known | known | known | st.text(max_size=6) | st.sampled_from(["SOLVER", "SOLVER.MAX_ITR"])
    if draw(st.integers(0, 4)) == 0:
        known_texts = ["_BASE_: a.yaml", "- 1", "a: &x [*x]", "a: &x {b: *x}", "VERSION: 1", "{}: 1"]
        text = draw(st.text(max_size=60) | st.sampled_from(known_texts))
    else:
        content: dict[str, Any] = {}
        for key, value in draw(st.dictionaries(keys, VALUES, max_size=3)).items():
            *path, name = key.split(".")
            node = content
            for part in path:
                node = node.setdefault(part, {})
                node = node if isinstance(node, dict) else {}
            node[name] = value
        text = yaml.safe_dump(content)
    options = [str(word) for pair in draw(st.lists(st.tuples(keys, VALUES), max_size=2)) for word in pair]
    return text, options
