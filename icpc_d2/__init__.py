"""ICPC, instance-conditioned prompting with contrastive learning for semantic segmentation, as a Detectron2 project.

Importing this package registers its data sets, backbones, head and meta-architecture; nothing else happens.
`icpc_d2.Predictor` is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from icpc_d2.install_detectron2 import check_detectron2

check_detectron2()

from icpc_d2 import data, modeling
from icpc_d2.config import add_icpc_config, get_config_file

if TYPE_CHECKING:
    from icpc_d2.inference.predictor import Predictor

__all__ = ["Predictor", "add_icpc_config", "data", "get_config_file", "modeling"]


def __getattr__(name: str) -> Any:
    if name == "Predictor":
        from icpc_d2.inference.predictor import Predictor

        return Predictor
    raise AttributeError(f"module 'icpc_d2' has no attribute {name!r}")
