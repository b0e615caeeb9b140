"""ICPC, instance-conditioned prompting with contrastive learning for semantic segmentation, as a Detectron2 project.

Importing this package registers its data sets, backbones, head and meta-architecture; nothing else happens.
"""

from icpc_d2.install_detectron2 import check_detectron2

check_detectron2()

from icpc_d2 import data, modeling
from icpc_d2.config import add_icpc_config
from icpc_d2.config_files import get_config_file

__all__ = ["add_icpc_config", "data", "get_config_file", "modeling"]
