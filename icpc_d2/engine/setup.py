"""From the command line to the config of a run, with device, normalization, seed and classes settled."""

import logging
from argparse import Namespace
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from icpc_d2.config.load import load_config
from icpc_d2.config.resolve import resolve_device, resolve_norms, resolve_precision
from icpc_d2.engine.hooks.seeding import resolve_seed
from icpc_d2.engine.run_folder.output_folder import OutputFolder
from icpc_d2.engine.run_folder.provenance import write_start
from icpc_d2.engine.setup_checks import check_datasets, check_ranges, check_weights
from icpc_d2.evaluation.evaluators import build_shared_classes
from icpc_d2.modeling.class_names import get_class_names

logger = logging.getLogger(__name__)


def setup(args: Namespace) -> CfgNode:
    """Build the run's config from Detectron2's command line, start the logs, seed, and write ``config.yaml``.

    Args:
        args: parsed by ``detectron2.engine.default_argument_parser``.

    Returns:
        The frozen config.

    Raises:
        ConfigError: a key or a value is wrong, or something that it names is not there.
        ValueError: class names, class count and data sets contradict each other.
        OSError: the output folder cannot be written, or holds another training.
    """
    cfg = load_config(args.config_file, args.opts)
    check_ranges(cfg)
    is_train = not args.eval_only
    if not args.resume:
        check_weights(cfg)
    if comm.is_main_process():
        folder = OutputFolder(Path(cfg.OUTPUT_DIR))
        folder.check_writable()
        # Before anything of another training is written over.
        if is_train:
            folder.refuse_other_training()
        if is_train and not args.resume:
            folder.refuse_earlier_training()
    # Detectron2 opens its own logs later; ours must be open before the notices below.
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="icpc_d2")
    resolve_device(cfg)
    resolve_precision(cfg)
    resolve_norms(cfg, comm.get_world_size())
    resolve_seed(cfg, args.resume)
    check_datasets(cfg, is_train)
    resolve_classes(cfg)
    cfg.freeze()
    default_setup(cfg, args)
    if is_train:
        write_start(cfg)
    return cfg


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
