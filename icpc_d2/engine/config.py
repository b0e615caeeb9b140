"""From the command line to the config that a run really uses: device, normalization and classes settled."""

import logging
from argparse import Namespace

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from icpc_d2.config import add_icpc_config
from icpc_d2.data.folders import register_folders
from icpc_d2.evaluation.build import build_shared_classes
from icpc_d2.modeling.class_names import get_class_names

logger = logging.getLogger(__name__)

# Every key whose value is the name of a normalization.
NORM_KEYS = ("MODEL.SEM_SEG_HEAD.NORM", "MODEL.FPN.NORM", "MODEL.CLIP.VIT_NORM", "MODEL.RESNETS.NORM")


def setup(args: Namespace) -> CfgNode:
    """Build the run's config from Detectron2's command line, start the logs, seed, and write ``config.yaml``.

    Args:
        args: what ``detectron2.engine.default_argument_parser`` parsed.

    Returns:
        The frozen config.

    Raises:
        ValueError: class names, class count and data sets contradict each other.
    """
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    # Detectron2 opens its own logs later; ours must be open before the notices below.
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="icpc_d2")
    resolve_device(cfg)
    resolve_norms(cfg, comm.get_world_size())
    register_folders((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST))
    resolve_classes(cfg)
    cfg.freeze()
    default_setup(cfg, args)
    return cfg


def resolve_device(cfg: CfgNode) -> None:
    """Fall back to the CPU, in place and with a notice, where the config asks for a GPU that is not there."""
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        logger.warning(f"MODEL.DEVICE is '{cfg.MODEL.DEVICE}' but torch finds no GPU: running on the CPU.")
        cfg.MODEL.DEVICE = "cpu"
    if cfg.MODEL.DEVICE == "cpu" and cfg.SOLVER.AMP.ENABLED:
        logger.warning("SOLVER.AMP.ENABLED needs a GPU: training in float32.")
        cfg.SOLVER.AMP.ENABLED = False


def resolve_norms(cfg: CfgNode, num_processes: int) -> None:
    """Replace "SyncBN", in place, by what the run can do.

    One process has nobody to synchronize with: "BN". torch's SyncBN refuses tensors on the CPU, where several
    processes use Detectron2's "naiveSyncBN".
    """
    if num_processes > 1 and cfg.MODEL.DEVICE != "cpu":
        return
    replacement = "BN" if num_processes == 1 else "naiveSyncBN"
    for key in NORM_KEYS:
        *path, name = key.split(".")
        node = cfg
        for part in path:
            node = node[part]
        if node[name] == "SyncBN":
            logger.info(f"{key}: SyncBN -> {replacement} ({num_processes} process(es) on {cfg.MODEL.DEVICE}).")
            node[name] = replacement


def resolve_classes(cfg: CfgNode) -> None:
    """Write the class names, their number and the ignore label into the config, so that the merged one is complete.

    Raises:
        ValueError: there are no names; or names, number, data sets and lists of shared classes disagree.
    """
    if cfg.DATASETS.TRAIN:
        # 255 is a class where there are more of them; the labels, which the metadata describes, decide.
        metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
        cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = metadata.get("ignore_label", cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE)
    cfg.MODEL.CLASS_NAMES = get_class_names(cfg)
    num_classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(cfg.MODEL.CLASS_NAMES)
    # A data set of other classes is evaluated by those that it shares with the model.
    same = [name for name in cfg.DATASETS.TEST if build_shared_classes(cfg, name) is None]
    for dataset in (*cfg.DATASETS.TRAIN, *same):
        found = len(MetadataCatalog.get(dataset).get("stuff_classes", []))
        if found != num_classes:
            raise ValueError(
                f"The data set '{dataset}' has {found} classes but the model has {num_classes}: check the spelling in "
                "DATASETS.TRAIN and DATASETS.TEST, and give both data sets of the same classes."
            )
