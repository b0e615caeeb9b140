"""The weights that a run starts from: named on purpose, of the config's model, and at hand before all else begins."""

import logging
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from icpc_d2.checkpoint.checkpoint_folder import newest_first
from icpc_d2.checkpoint.model_file import config_within
from icpc_d2.checkpoint.sources import CLIP, OPENMMLAB, locate, parse_clip
from icpc_d2.config.load import ConfigError, is_set, load_config
from icpc_d2.modeling.clip import get_architecture

logger = logging.getLogger(__name__)

WEIGHTS, TEXT_WEIGHTS = "MODEL.WEIGHTS", "MODEL.TEXT_ENCODER.WEIGHTS"


def read_config_of(args: Namespace) -> CfgNode:
    """Read the config of a command line; without ``--config-file`` the one inside of the model that is evaluated.

    Raises:
        ConfigError: it cannot be read, or there is none.
        ValueError, OSError: see :func:`icpc_d2.checkpoint.sources.locate`.
    """
    if args.config_file:
        return load_config(args.config_file, args.opts)
    address = str(args.opts[args.opts.index(WEIGHTS) + 1])
    file = locate(address)
    text = config_within(Path(file))
    if text is None:
        raise ConfigError(
            f"There is no --config-file, and {WEIGHTS} {address} holds no config: name one, or a model's file as "
            "`icpc convert model` writes it."
        )
    return load_config(file, args.opts, text=text, skip_unknown=True)


def check_weights(cfg: CfgNode, args: Namespace) -> None:
    """Check what can be told of the weights without fetching them.

    Raises:
        ConfigError: there is no such file; CLIP's are for another MODEL.CLIP.ARCH; nothing says that all is to start
            from random weights; these would stay frozen, or be fine-tuned; or an encoder by itself is to be evaluated.
    """
    if continues(cfg, args):
        return
    if not cfg.MODEL.WEIGHTS and args.config_file and not is_set(WEIGHTS, args.config_file, args.opts):
        raise ConfigError(
            f"{WEIGHTS} is set nowhere, so that all would start from random weights. Name some, such as "
            f'clip://RN50 or openmmlab://resnet50_v1c; for random ones, say {WEIGHTS} "".'
        )
    if not cfg.MODEL.WEIGHTS and not args.eval_only:
        _check_random_start(cfg)
    if args.eval_only and cfg.MODEL.WEIGHTS.startswith((CLIP, OPENMMLAB)):
        raise ConfigError(
            f"{WEIGHTS} is {cfg.MODEL.WEIGHTS}, an encoder by itself: the rest of the model would be evaluated with "
            f"random weights. Name a trained model, as {WEIGHTS} {cfg.OUTPUT_DIR}/model_final.pth."
        )
    for key, address in _used(cfg, args):
        if address.startswith(CLIP):
            _check_architecture(key, address, cfg.MODEL.CLIP.ARCH)
        elif "://" not in address and not Path(address).expanduser().is_file():
            raise ConfigError(f"{key}: there is no file {address}.")


def _check_random_start(cfg: CfgNode) -> None:
    """Raise ConfigError where a training from random weights is asked for what needs others."""
    if cfg.MODEL.NEW_CLASSES:
        raise ConfigError(f"MODEL.NEW_CLASSES is True, but {WEIGHTS} is empty: wanted is a checkpoint to fine-tune.")
    if cfg.MODEL.BACKBONE.FREEZE_AT:
        raise ConfigError(
            f"MODEL.BACKBONE.FREEZE_AT is {cfg.MODEL.BACKBONE.FREEZE_AT}, but {WEIGHTS} is empty: these stages would "
            "keep random weights for good. Name weights, or set FREEZE_AT to 0."
        )


def warn_of_random_start(cfg: CfgNode, args: Namespace) -> None:
    """Warn where a training from random weights goes by a learning rate that is meant for pretrained ones."""
    multiplier = cfg.SOLVER.BACKBONE_MULTIPLIER
    if not cfg.MODEL.WEIGHTS and not args.eval_only and not continues(cfg, args) and multiplier < 1:
        logger.warning(
            f"{WEIGHTS} is empty, so that the image encoder starts from random weights; but it learns at "
            f"{multiplier:g} of the learning rate, which is meant for a pretrained one. To train it as fast as the "
            "rest: SOLVER.BACKBONE_MULTIPLIER 1.0."
        )


def fetch_weights(cfg: CfgNode, args: Namespace) -> None:
    """Fetch what the run will load, as far as it is not on this machine.

    Raises:
        ValueError, OSError: see :func:`icpc_d2.checkpoint.sources.locate`.
    """
    if not continues(cfg, args):
        for _, address in _used(cfg, args):
            locate(address)


def continues(cfg: CfgNode, args: Namespace) -> bool:
    """Return whether the run takes its weights from a checkpoint in its output folder."""
    return bool(args.resume and newest_first(Path(cfg.OUTPUT_DIR)))


def _used(cfg: CfgNode, args: Namespace) -> Iterator[tuple[str, str]]:
    yield from ((WEIGHTS, cfg.MODEL.WEIGHTS),) if cfg.MODEL.WEIGHTS else ()
    if cfg.MODEL.TEXT_ENCODER.WEIGHTS and not args.eval_only:
        yield TEXT_WEIGHTS, cfg.MODEL.TEXT_ENCODER.WEIGHTS


def _check_architecture(key: str, address: str, name: str) -> None:
    source = parse_clip(address)
    wanted = source.architecture
    found, theirs = get_architecture(name), get_architecture(wanted)
    parts = ("embed_dim", "text_cfg") if key == TEXT_WEIGHTS else ("embed_dim", "text_cfg", "vision_cfg")
    alike = all(_without_size(found[part]) == _without_size(theirs[part]) for part in parts)
    if not alike or found.get("quick_gelu", False) != source.quick_gelu:
        raise ConfigError(f"{key} {address} is for MODEL.CLIP.ARCH {wanted}, but that is {name}.")


def _without_size(part: Any) -> Any:
    """Leave out the image size, to which position embeddings are resized."""
    return {name: value for name, value in part.items() if name != "image_size"} if isinstance(part, dict) else part
