"""Files of weights: downloads by ``clip://RN50``, and reading that unpickles tensors and plain data alone."""

import hashlib
import logging
import os
import warnings
import zipfile
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

import torch
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from iopath.common.file_io import PathHandler
from open_clip.pretrained import download_pretrained_from_url, get_pretrained_url
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

logger = logging.getLogger(__name__)

CLIP_PREFIX = "clip://"
# OpenAI's models that there are backbones for.
CLIP_MODELS = ("RN50", "RN101", "ViT-B-16")


class UnreadableWeightsError(ValueError):
    """A file that is damaged, of an unknown format, or that only executing what it holds could read."""


class ClipPathHandler(PathHandler):
    """``clip://RN50``: OpenAI's weights, downloaded by open_clip into its cache and checked against their hash."""

    def _get_supported_prefixes(self) -> list[str]:
        return [CLIP_PREFIX]

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        """Download what is not there yet; a failure says which file to put where."""
        name = path.removeprefix(CLIP_PREFIX)
        if name not in CLIP_MODELS:
            known = ", ".join(CLIP_PREFIX + model for model in CLIP_MODELS)
            raise ValueError(f"'{path}' is unknown; there are {known}.")
        url = get_pretrained_url(name, "openai")
        # One process of each machine downloads, the others then find the file in the cache.
        downloads = comm.get_local_rank() == 0
        file_name = _download(path, url) if downloads else ""
        comm.synchronize()
        return file_name if downloads else _download(path, url)

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs: Any) -> IO[Any]:
        return open(self._get_local_path(path), mode, buffering=buffering)


def _download(path: str, url: str) -> str:
    try:
        return download_pretrained_from_url(url)
    # Besides connections that fail: a wrong hash, a proxy's page without length, an answer that breaks off.
    except (OSError, RuntimeError, TypeError, HTTPException) as error:
        name = os.path.basename(url)
        raise OSError(
            f"Cannot download {path} ({error}). On a machine with a connection fetch {url} and put it at "
            f"{os.path.join(os.path.expanduser('~'), '.cache', 'clip', name)} or set MODEL.WEIGHTS to the file {name}."
        ) from error


def read_weights(file_name: str) -> dict[str, Any]:
    """Read a file of weights: ``.safetensors``, a TorchScript archive (OpenAI's ``.pt``) or a torch file.

    Returns:
        The content of a checkpoint of ours, on the CPU. Of other files "model", their weights by name, whether these
        are below "state_dict" (open_clip's, OpenMMLab's) or all that there is; and "meta". Of a TorchScript archive
        "is_openai", too. The "module." that DistributedDataParallel puts before each name is removed.

    Raises:
        UnreadableWeightsError: not such a file, a damaged one, one that holds other Python objects than tensors and
            plain data, or one without tensors by name.
    """
    open(file_name, "rb").close()  # a file that cannot be opened is another matter than one that is damaged
    try:
        content = _read(file_name)
    except Exception as error:  # damaged bytes make these readers raise nearly anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UnreadableWeightsError(
            f"{file_name} cannot be read as weights: it is damaged, of another format, or it holds Python objects that "
            f"would have to be executed, which is refused ({reason}). Wanted: tensors saved by "
            "torch.save, .safetensors, or OpenAI's .pt archive."
        ) from error
    if not isinstance(content, dict):
        raise UnreadableWeightsError(f"{file_name} holds a {type(content).__name__}, wanted a dict of tensors by name.")
    if not isinstance(content.get("model"), dict):
        nested = content.get("state_dict")
        content = {"model": nested if isinstance(nested, dict) else content, "meta": content.get("meta")}
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
        return load_safetensors(file_name)
    if zipfile.is_zipfile(file_name):
        with zipfile.ZipFile(file_name) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                return {"model": _read_torchscript(file_name), "is_openai": True}
            # torch does not compare checksums, and would read flipped bits as weights.
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"the checksum of {damaged} in it is wrong")
    return torch.load(file_name, map_location="cpu", weights_only=True)


def _read_torchscript(file_name: str) -> dict[str, Tensor]:
    """Read a TorchScript archive, which runs code in it: for any but OpenAI's own with a warning."""
    digest = hashlib.sha256(Path(file_name).read_bytes()).hexdigest()
    if not any(digest in get_pretrained_url(model, "openai") for model in CLIP_MODELS):
        logger.warning(
            f"{file_name} is a TorchScript archive and none of OpenAI's ({', '.join(CLIP_MODELS)}): torch runs code in "
            "such a file. Take it only from whom you trust."
        )
    with warnings.catch_warnings():
        # torch deprecates the format, but OpenAI's files have no other.
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.load(file_name, map_location="cpu").state_dict()


PathManager.register_handler(ClipPathHandler(), allow_override=True)
