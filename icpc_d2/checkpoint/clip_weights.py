"""Files of weights, read without unpickling more than tensors, numpy's arrays and plain data."""

import logging
import re
import warnings
import zipfile
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from open_clip.pretrained import get_pretrained_url, list_pretrained_models_by_tag
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from icpc_d2.checkpoint.download import sha256_of
from icpc_d2.checkpoint.model_file import read_safetensors
from icpc_d2.checkpoint.packed_clip import is_packed, unpack_clip
from icpc_d2.files import array_globals

logger = logging.getLogger(__name__)


class UnreadableWeightsError(ValueError):
    """A file that is damaged, of an unknown format, or that only executing what it holds could read."""


def read_weights(file_name: str) -> dict[str, Any]:
    """Read a file of weights: ``.safetensors``, a TorchScript archive (OpenAI's ``.pt``) or a torch file.

    Returns:
        The content of a checkpoint of ours, on the CPU. Of other files "model", their weights by name, whether these
        are below "state_dict" (open_clip's, OpenMMLab's) or all that there is; and "meta". Of CLIP, where the file says
        it, "quick_gelu": whether it was trained with that. The "module." that DistributedDataParallel puts before each
        name is removed.

    Raises:
        UnreadableWeightsError: not such a file, a damaged one, one that holds other Python objects than tensors and
            plain data, or one without tensors by name.
    """
    open(file_name, "rb").close()  # a file that cannot be opened is another matter than one that is damaged
    try:
        content = _read(file_name)
    except Exception as error:  # damaged bytes make these readers raise nearly anything
        raise UnreadableWeightsError(f"{file_name} cannot be read as weights: {_reason(error)}") from error
    if not isinstance(content, dict):
        raise UnreadableWeightsError(f"{file_name} holds a {type(content).__name__}, wanted a dict of tensors by name.")
    if not isinstance(content.get("model"), dict):
        nested = content.get("state_dict")
        content = {"model": nested if isinstance(nested, dict) else content, "meta": content.get("meta")}
    if content.pop("is_openai", None) is True:  # as `icpc convert clip` called it once
        content["quick_gelu"] = True
    class_names = content.get("class_names", [])
    if not isinstance(class_names, list) or not all(isinstance(name, str) for name in class_names):
        raise UnreadableWeightsError(f"{file_name}: its class names are {class_names!r:.80}, wanted a list of names.")
    weights = content["model"]
    if not weights:
        raise UnreadableWeightsError(f"{file_name} holds no tensors.")
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            kind = type(value).__name__
            raise UnreadableWeightsError(f"{file_name}: {name!r} is a {kind}, wanted tensors by name.")
    if all(name.startswith("module.") for name in weights):
        content["model"] = {name.removeprefix("module."): value for name, value in weights.items()}
    return content


def _read(file_name: str) -> Any:
    if file_name.endswith(".safetensors"):
        with safe_open(file_name, "pt") as file:
            metadata, names = file.metadata() or {}, list(file.keys())
        return unpack_clip(load_file(file_name), metadata) if is_packed(names) else read_safetensors(file_name)
    if zipfile.is_zipfile(file_name):
        with zipfile.ZipFile(file_name) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                return {"model": _read_torchscript(file_name), "quick_gelu": True}
            # torch does not compare checksums, and would read flipped bits as weights.
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"the checksum of {damaged} in it is wrong")
    with _arrays_allowed():
        return torch.load(file_name, map_location="cpu", weights_only=True)


def _arrays_allowed() -> AbstractContextManager[None]:
    """Let torch read numpy's arrays and numbers, as mm's checkpoints have them in their "meta"; since torch 2.5."""
    safe_globals = getattr(torch.serialization, "safe_globals", lambda _: nullcontext())
    # Before 2.7 it takes objects alone, which have the names of the numpy that is installed.
    named = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 7)
    return safe_globals([pair if named else pair[0] for pair in array_globals()])


def _reason(error: Exception) -> str:
    """Say what keeps a file from being read, without what torch advises, which is to execute it."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    if found := re.search(r"GLOBAL ([\w.]+)|(?:function|class|got) <(?:function|class) '?([\w.]+)", text):
        return (
            f"it holds a Python object, {found[1] or found[2]}, which would have to be executed; that is refused. "
            "Wanted are tensors, numpy's arrays and plain data. Where you trust the file, write these to another: "
            "c = torch.load(IN, weights_only=False); torch.save({'state_dict': c['state_dict']}, OUT)"
        )
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return (
        f"it is damaged or of another format ({first[:160]}). Wanted: tensors saved by torch.save, .safetensors, or "
        "OpenAI's .pt archive."
    )


def _read_torchscript(file_name: str) -> dict[str, Tensor]:
    """Read a TorchScript archive, which runs code in it: for any but OpenAI's own with a warning."""
    openai = [model for model in list_pretrained_models_by_tag("openai") if not model.endswith("-quickgelu")]
    if not any(sha256_of(file_name) in get_pretrained_url(model, "openai") for model in openai):
        logger.warning(
            f"{file_name} is a TorchScript archive and none of OpenAI's ({', '.join(openai)}): torch runs code in "
            "such a file. Take it only from whom you trust."
        )
    with warnings.catch_warnings():
        # torch deprecates the format, but OpenAI's files have no other.
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.load(file_name, map_location="cpu").state_dict()
