"""ICPC, instance-conditioned prompting with contrastive learning for semantic segmentation, as a Detectron2 project.

Importing this package registers its backbones, head and meta-architecture; nothing else happens.
"""

from icpc_d2 import data, modeling
from icpc_d2.config import add_icpc_config

__all__ = ["add_icpc_config", "data", "modeling"]
