"""Loading of CLIP's text encoder by itself, for models whose image encoder is not CLIP's."""

import logging

from detectron2.utils.file_io import PathManager
from torch import nn

from icpc_d2.checkpoint.clip_weights import read_weights
from icpc_d2.checkpoint.key_maps import TEXT_ENCODER, check_names, check_quick_gelu, fit, unwrap

logger = logging.getLogger(__name__)


def load_text_encoder(model: nn.Module, path: str) -> None:
    """Load CLIP's weights into the text encoder alone.

    Args:
        model: has a ``text_encoder``, by CLIP's own names.
        path: ``clip://ViT-B-16`` or a file of CLIP's weights; empty: nothing is loaded.

    Raises:
        ValueError: weights that do not cover the text encoder, or not of its shapes; GELU in place of QuickGELU.
    """
    if not path:
        return
    content, is_openai = read_weights(PathManager.get_local_path(path))
    weights = unwrap(content)
    if content.get("is_openai", is_openai):
        check_quick_gelu(model)
    wanted = {name: value for name, value in model.state_dict().items() if name.startswith(TEXT_ENCODER)}
    found = {TEXT_ENCODER + name: tensor for name, tensor in weights.items() if TEXT_ENCODER + name in wanted}
    check_names(wanted.keys() - found.keys(), (), f"MODEL.TEXT_ENCODER.WEIGHTS, {path}")
    model.load_state_dict({name: fit(name, tensor, wanted[name]) for name, tensor in found.items()}, strict=False)
    logger.info(f"The text encoder has CLIP's weights of {path}.")
