"""From the command line to the config of a run, with device, normalization, seed and classes settled.

What would end a training hours later is checked first.
"""

import logging
from argparse import Namespace
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from icpc_d2.config.detectron2_keys import check_detectron2_keys
from icpc_d2.config.load import ConfigError, nearest
from icpc_d2.config.resolve import resolve_device, resolve_norms, resolve_precision
from icpc_d2.data.class_list import ignore_label_of
from icpc_d2.data.class_matching import class_colors_of
from icpc_d2.data.folders import register_folders
from icpc_d2.engine.class_balance import resolve_class_weights
from icpc_d2.engine.data_checks import check_labels
from icpc_d2.engine.initial_weights import check_weights, fetch_weights, read_config_of, warn_of_random_start
from icpc_d2.engine.ranges import check_ranges
from icpc_d2.engine.run_folder.output_folder import OutputFolder
from icpc_d2.engine.run_folder.provenance import read_starts, write_start
from icpc_d2.evaluation.evaluators import build_shared_classes, order_in
from icpc_d2.modeling.class_names import resolve_class_names
from icpc_d2.visualization.palette import format_colors, parse_colors

logger = logging.getLogger(__name__)


def setup(args: Namespace) -> CfgNode:
    """Build the run's config, frozen, from Detectron2's command line; start the logs, seed, and write ``config.yaml``.

    Raises:
        ConfigError: a key or a value is wrong, or something that it names is not there.
        ValueError: class names, class count and data sets contradict each other.
        OSError: the output folder cannot be written, or holds another training.
    """
    cfg = read_config_of(args)
    check_ranges(cfg)
    check_detectron2_keys(cfg)
    is_train = not args.eval_only
    check_weights(cfg, args)
    open_run(cfg, args)
    warn_of_random_start(cfg, args)
    check_datasets(cfg, is_train)
    resolve_classes(cfg)
    fetch_weights(cfg, args)
    if comm.is_main_process():
        check_labels(cfg, is_train)
    resolve_class_weights(cfg, is_train)
    start_run(cfg, args)
    return cfg


def open_run(cfg: CfgNode, args: Namespace) -> None:
    """Take the output folder, start the logs, and settle device, precision, normalization and seed, in place.

    Raises:
        ValueError: the precision is unknown.
        OSError: the output folder cannot be written, or holds another training.
    """
    is_train = not args.eval_only
    if comm.is_main_process():
        folder = OutputFolder(Path(cfg.OUTPUT_DIR))
        folder.check_writable()
        # Before anything of another training is written over.
        if is_train:
            folder.lock()
            folder.unlock()
            if not args.resume:
                folder.refuse_earlier_training()
    # Detectron2 opens its own logs later; ours must be open before the notices below.
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="icpc_d2")
    resolve_device(cfg)
    resolve_precision(cfg)
    resolve_norms(cfg, comm.get_world_size())
    if cfg.SEED < 0:
        starts = read_starts(Path(cfg.OUTPUT_DIR)) if args.resume else []
        cfg.SEED = starts[-1]["seed"] if starts else comm.shared_random_seed()
        logger.info(f"SEED: -1 -> {cfg.SEED} ({'as before' if starts else 'drawn'}).")


def start_run(cfg: CfgNode, args: Namespace) -> None:
    """Freeze the config, seed the process, and write the config and where the run comes from."""
    cfg.freeze()
    default_setup(cfg, args)
    if not args.eval_only:
        write_start(cfg)


def check_datasets(cfg: CfgNode, is_train: bool) -> None:
    """Make sure that the data sets are registered and not empty; those of the user's folders are registered first.

    Only a training needs the files of ``DATASETS.TRAIN``.

    Raises:
        ConfigError: one is unknown or empty.
        FileNotFoundError: a folder is missing; says which command makes it.
    """
    if is_train and not cfg.DATASETS.TRAIN:
        raise ConfigError("DATASETS.TRAIN is empty, wanted the name of a data set to train on.")
    register_folders([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST], cfg.DATASETS.SUFFIXES)
    known = DatasetCatalog.list()
    for key, name in [(f"DATASETS.{split}", name) for split in ("TRAIN", "TEST") for name in cfg.DATASETS[split]]:
        if name not in known:
            parts = [part for part in known if name.startswith(part) and name.removeprefix(part) in known]
            hint = f" Is a comma missing between '{parts[0]}' and the next?" if parts else nearest(name, known)
            raise ConfigError(f"{key}: there is no data set '{name}'.{hint}")
        if is_train or key == "DATASETS.TEST":
            try:
                found = DatasetCatalog.get(name)
            except AssertionError as error:  # Detectron2 raises it for an empty folder
                raise ConfigError(f"{key}: the data set '{name}' cannot be used: {error}") from error
            if not found:
                raise ConfigError(f"{key}: the data set '{name}' has no image with a label map of the same name.")


def resolve_classes(cfg: CfgNode) -> None:
    """Write the class names, their number and the ignore label into the config, so that the merged one is complete.

    Raises:
        ValueError: there are no names; or names, number, data sets and lists of shared classes disagree.
    """
    if cfg.DATASETS.TRAIN:
        # 255 is a class where there are more of them; the labels, which the metadata describes, decide.
        metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
        cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = metadata.get("ignore_label", cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE)
    resolve_class_names(cfg)
    num_classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(cfg.MODEL.CLASS_NAMES)
    # A data set of other classes is evaluated by those that it shares with the model.
    same = [name for name in cfg.DATASETS.TEST if build_shared_classes(cfg, name) is None]
    for dataset in (*cfg.DATASETS.TRAIN, *same):
        if (order := order_in(cfg, dataset)) is not None:
            places = ", ".join(f"{index} -> {place}" for index, place in enumerate(order) if index != place)
            logger.warning(
                f"The data set '{dataset}' has the model's classes in another order: they are mapped by name (id in "
                f"the data set -> in the model): {places}."
            )
        ignored = MetadataCatalog.get(dataset).get("ignore_label", cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE)
        if isinstance(ignored, int) and ignored < num_classes:
            raise ConfigError(
                f"The data set '{dataset}' ignores the label {ignored}, which is also the id of its class "
                f"{MetadataCatalog.get(dataset).stuff_classes[ignored]!r}: set `ignore_label` of its metadata to a "
                f"number that no class has, such as {ignore_label_of(num_classes)}."
            )
    if cfg.DATASETS.TRAIN and not cfg.MODEL.CLASS_COLORS:
        first = cfg.DATASETS.TRAIN[0]
        cfg.MODEL.CLASS_COLORS = format_colors(class_colors_of(first, cfg.MODEL.CLASS_NAMES, first))
    parse_colors(cfg.MODEL.CLASS_COLORS, num_classes)
