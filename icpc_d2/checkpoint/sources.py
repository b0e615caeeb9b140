"""Addresses of weights: ``clip://``, ``hf://``, ``openmmlab://`` and Detectron2's, each to a file of this machine.

What a cache holds is used as it is, without a look at the network. Importing this registers the addresses.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from detectron2.utils.file_io import PathManager
from huggingface_hub import constants
from iopath.common.file_io import PathHandler
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.pretrained import get_pretrained_cfg, is_pretrained_cfg, list_pretrained, list_pretrained_tags_by_model

from icpc_d2.checkpoint.download import download, has_hash, sha256_of
from icpc_d2.checkpoint.hub import from_hub, hub_advice, in_hub_cache
from icpc_d2.checkpoint.packed_clip import packed_quick_gelu

logger = logging.getLogger(__name__)

CLIP, HUB, OPENMMLAB = "clip://", "hf://", "openmmlab://"
# CLIPs of `icpc pretrain` that come with this package, ``clip://tiny-RN``; the card of each is beside it.
SHIPPED = Path(__file__).parent / "shipped"
# Of a model that is handed on by the hub, unless the address names another.
HUB_FILE = "model.safetensors"
# ResNet-V1c on ImageNet: what DenseCLIP's and mmsegmentation's ResNets start from. The end of a name is its hash.
OPENMMLAB_URL = "https://download.openmmlab.com/pretrain/third_party"
OPENMMLAB_FILES = {"resnet50_v1c": "resnet50_v1c-2cccc1ad.pth", "resnet101_v1c": "resnet101_v1c-e67eebb6.pth"}


class ClipSource(NamedTuple):
    """Weights of open_clip's list, or of this package."""

    model: str  # "ViT-B-16"
    tag: str  # "openai"
    quick_gelu: bool  # the activation that they were trained with
    repository: str  # on the hub; empty: none
    files: tuple[str, ...]  # of the repository, any of which will do
    url: str  # elsewhere; empty: none whose hash is known
    sha256: str  # of what `url` gives, or its first digits
    file: str = ""  # that comes with this package; empty: none

    @property
    def architecture(self) -> str:
        """The MODEL.CLIP.ARCH that they are for; activation and size of our own are in the architecture's file."""
        return self.model if self.file else self.model + "-quickgelu" * self.quick_gelu


def parse_clip(address: str) -> ClipSource:
    """Look ``clip://MODEL/TAG`` up in open_clip's list of weights; the TAG of ``clip://MODEL`` is "openai".

    ``clip://tiny-RN`` and ``clip://tiny-ViT``, without a tag, come with this package.

    Raises:
        ValueError: the list has no such model or tag; the message names what it has.
    """
    name, _, tag = address.removeprefix(CLIP).partition("/")
    shipped = {path.stem: path for path in sorted(SHIPPED.glob("*.safetensors"))}
    if name in shipped and not tag:
        return ClipSource(name, "", packed_quick_gelu(shipped[name]), "", (), "", "", str(shipped[name]))
    model, tag = name.removesuffix("-quickgelu"), tag or "openai"
    entry = get_pretrained_cfg(model, tag) or get_pretrained_cfg(name, tag)
    if not entry:
        tags = list_pretrained_tags_by_model(model)
        models = sorted({known for known, _ in list_pretrained() if known.startswith(("RN", "ViT-"))})
        models = [known for known in models if not re.search("quickgelu|SigLIP|CLIPA|worldwide", known)]
        known = f"tags of {model}: {', '.join(tags)}" if tags else f"models: {', '.join(models)}"
        own = f" With this package come {', '.join(map(CLIP.__add__, shipped))}." if shipped else ""
        raise ValueError(f"'{address}' is unknown to open_clip. It has the {known}.{own}")
    repository, _, file = entry.get("hf_hub", "").rpartition("/")
    files = (file,) if file else (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
    url = entry.get("url", "")
    hashes = re.search(r"/([0-9a-f]{64})/[^/]+$|-([0-9a-f]{8})\.\w+$", url)
    sha256 = (hashes[1] or hashes[2]) if hashes else ""
    # Beside the mark of today's list: older releases of open_clip list such weights below the other name alone.
    quick_gelu = tag == "openai" or bool(entry.get("quick_gelu")) or is_pretrained_cfg(f"{model}-quickgelu", tag)
    return ClipSource(model, tag, quick_gelu, repository, files, url if sha256 else "", sha256)


def locate(address: str) -> str:
    """Return the local file of an address or path, fetched where no cache has it.

    Raises:
        ValueError: an address that names nothing known.
        OSError: it cannot be fetched; says by which command it can be, and where to put it.
    """
    file = os.path.expanduser(PathManager.get_local_path(address))
    if "://" in address and os.path.isfile(file) and _located.get(address) != file:
        _located[address] = file
        logger.info(f"{address} is {file}, SHA-256 {sha256_of(file)}")
    return file


_located: dict[str, str] = {}


def hash_of_located(address: str) -> str | None:
    """Return the SHA-256 of a path's file, of weights of this package, or of what :func:`locate` found; else None."""
    shipped = SHIPPED / f"{address.removeprefix(CLIP)}.safetensors"
    file = _located.get(address) or (str(shipped) if address.startswith(CLIP) else os.path.expanduser(address))
    return sha256_of(file) if os.path.isfile(file) else None


def trained_with_quick_gelu(address: str, content: Mapping[str, Any]) -> bool | None:
    """Tell from an address, or from the content of its file, which activation CLIP was trained with; None: unknown."""
    known = parse_clip(address).quick_gelu if address.startswith(CLIP) else content.get("quick_gelu")
    return known if isinstance(known, bool) else None


def find_clip(address: str) -> str:
    """Find CLIP's weights in the hub's cache or in CLIP's own, else on the hub, else where they were published.

    Raises:
        ValueError, OSError: see :func:`locate`.
    """
    source = parse_clip(address)
    if source.file:
        return source.file
    kept = Path.home() / ".cache" / "clip" / source.url.rpartition("/")[2]
    if file := source.repository and in_hub_cache(source.repository, source.files):
        return file
    if source.url and has_hash(kept, source.sha256):
        return str(kept)
    reasons = []
    if source.repository:
        try:
            return from_hub(source.repository, source.files)
        except OSError as error:
            reasons.append(str(error))
    if source.url and not constants.HF_HUB_OFFLINE:
        try:
            return str(download(source.url, kept, source.sha256))
        except OSError as error:
            reasons.append(str(error))
    raise OSError(f"Cannot get {address}. {'; '.join(reasons)}. {_advice(address, source, kept)}")


def find_on_hub(address: str) -> str:
    """Find ``hf://OWNER/NAME[@REVISION][/FILE]`` in the hub's cache or on the hub.

    Raises:
        ValueError, OSError: see :func:`locate`.
    """
    match = re.fullmatch(r"hf://([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.+))?", address)
    if match is None:
        raise ValueError(f"'{address}' is no address of the hub, wanted hf://OWNER/NAME or hf://OWNER/NAME/FILE.")
    repository, revision, file = match[1], match[2], match[3] or HUB_FILE
    try:
        return in_hub_cache(repository, [file], revision) or from_hub(repository, [file], revision)
    except OSError as error:
        raise OSError(f"Cannot get {address}. {error}. {hub_advice(repository, file)}.") from error


def find_openmmlab(address: str) -> str:
    """Find ``openmmlab://resnet50_v1c`` in torch's cache, where mm's programs keep it too, or at OpenMMLab.

    Raises:
        ValueError, OSError: see :func:`locate`.
    """
    name = address.removeprefix(OPENMMLAB)
    if name not in OPENMMLAB_FILES:
        raise ValueError(f"'{address}' is unknown; there are {', '.join(map(OPENMMLAB.__add__, OPENMMLAB_FILES))}.")
    file = OPENMMLAB_FILES[name]
    url, target = f"{OPENMMLAB_URL}/{file}", Path(torch.hub.get_dir(), "checkpoints", file)
    sha256 = re.search(r"-([0-9a-f]{8})\.pth$", file)[1]
    try:
        if constants.HF_HUB_OFFLINE and not has_hash(target, sha256):
            raise OSError("HF_HUB_OFFLINE is set")
        return str(download(url, target, sha256))
    except OSError as error:
        raise OSError(
            f"Cannot get {address}: {error}. On a machine with a connection: curl -LO {url} ; then put it at {target}, "
            f"or set MODEL.WEIGHTS to it."
        ) from error


def _advice(address: str, source: ClipSource, kept: Path) -> str:
    if source.repository:
        return f"{hub_advice(source.repository, source.files[0])}."
    return f"On a machine with a connection: curl -LO {source.url} ; then put it at {kept}."


class WeightsPathHandler(PathHandler):
    """An address that a function turns into a local file."""

    def __init__(self, prefix: str, find: Callable[[str], str]) -> None:
        super().__init__()
        self._prefix, self._find = prefix, find

    def _get_supported_prefixes(self) -> list[str]:
        return [self._prefix]

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        return self._find(path)

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs: Any) -> IO[Any]:
        return open(self._find(path), mode, buffering=buffering)


for _prefix, _find in ((CLIP, find_clip), (HUB, find_on_hub), (OPENMMLAB, find_openmmlab)):
    PathManager.register_handler(WeightsPathHandler(_prefix, _find), allow_override=True)
