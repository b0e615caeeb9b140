import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.events import EventStorage
from torch import nn

import icpc_d2  # noqa: F401  registers the models
from icpc_d2.checkpoint import WeightsCheckpointer
from icpc_d2.config import add_icpc_config
from icpc_d2.engine import Trainer
from icpc_d2.engine.hooks.evaluation import BestCheckpointer


def evaluated(
    folder: Path, figures: list[float], *, start_iter: int = 0, metric: str = "sem_seg/mIoU"
) -> BestCheckpointer:
    """A hook that has seen these figures, one after each iteration."""
    hook = BestCheckpointer(1, WeightsCheckpointer(nn.Linear(1, 1), str(folder)), metric)
    with EventStorage(start_iter) as storage:
        hook.trainer = SimpleNamespace(storage=storage, start_iter=start_iter, iter=start_iter, max_iter=10**6)
        hook.before_train()
        for figure in figures:
            storage.put_scalar(metric, figure)
            hook.after_step()
            hook.trainer.iter += 1
            storage.step()
    return hook


def best(folder: Path) -> dict:
    return json.loads((folder / "model_best.json").read_text())


def test_the_best_checkpoint_is_remembered_across_resume(tmp_path: Path) -> None:
    evaluated(tmp_path, [30.0, 50.0, 40.0])
    assert best(tmp_path) == {"metric": "sem_seg/mIoU", "value": 50.0, "iteration": 1}
    saved = (tmp_path / "model_best.pth").read_bytes()

    hook = evaluated(tmp_path, [45.0], start_iter=3)
    assert (hook.best_metric, hook.best_iter) == (50.0, 1)
    assert (tmp_path / "model_best.pth").read_bytes() == saved

    evaluated(tmp_path, [60.0], start_iter=4)
    assert best(tmp_path)["value"] == 60.0
    assert (tmp_path / "model_best.pth").read_bytes() != saved


def test_a_new_run_in_an_old_folder_starts_over(tmp_path: Path) -> None:
    evaluated(tmp_path, [50.0])
    evaluated(tmp_path, [20.0])
    assert best(tmp_path)["value"] == 20.0


def test_figures_of_another_metric_do_not_count(tmp_path: Path) -> None:
    evaluated(tmp_path, [50.0])
    evaluated(tmp_path, [20.0], start_iter=1, metric="sem_seg/pACC")
    assert best(tmp_path) == {"metric": "sem_seg/pACC", "value": 20.0, "iteration": 1}


@pytest.fixture
def cfg(tmp_path: Path) -> CfgNode:
    from PIL import Image

    samples = []
    for index in range(20):
        files = {"file_name": tmp_path / f"{index:02d}.jpg", "sem_seg_file_name": tmp_path / f"{index:02d}.png"}
        Image.new("RGB", (40, 32), (index, 0, 0)).save(files["file_name"])
        Image.new("L", (40, 32), index % 2).save(files["sem_seg_file_name"])
        samples.append({key: str(path) for key, path in files.items()})
    name = f"tiny_{tmp_path.name}"
    DatasetCatalog.register(name, lambda: samples)
    MetadataCatalog.get(name).set(stuff_classes=["a", "b"], ignore_label=255, evaluator_type="sem_seg")
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (name,)
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.CROP.SIZE = (32,), [32, 32]
    cfg.INPUT.MIN_SIZE_TEST = 32
    cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS = 4, 0
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = False
    yield cfg
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def first_files(cfg: CfgNode, batches: int = 5) -> list[str]:
    loader = iter(Trainer.build_train_loader(cfg))
    return [sample["file_name"] for _ in range(batches) for sample in next(loader)]


def test_the_seed_orders_the_data(cfg: CfgNode) -> None:
    cfg.SEED = 3
    order = first_files(cfg)
    assert len(set(order)) == 20, "an epoch shows every image once"
    assert first_files(cfg) == order
    cfg.SEED = 4
    assert first_files(cfg) != order
    cfg.SEED = -1
    assert len({tuple(first_files(cfg)) for _ in range(4)}) > 1


def test_samples_bring_a_seed_that_only_their_draw_decides(cfg: CfgNode) -> None:
    def seeds(**keys: int) -> list[int]:
        cfg.SOLVER.update(keys)
        loader = iter(Trainer.build_train_loader(cfg))
        return [sample["seed"] for _ in range(8 * cfg.SOLVER.ACCUMULATE) for sample in next(loader)]

    cfg.SEED = 3
    at_once = seeds()
    assert len(set(at_once)) == 32
    assert seeds(ACCUMULATE=2) == at_once


@pytest.mark.parametrize("keys", [{"ACCUMULATE": 3}, {"ACCUMULATE": 0}, {"IMS_PER_BATCH": 0}])
def test_batches_that_cannot_be_shared_out_are_refused(cfg: CfgNode, keys: dict[str, int]) -> None:
    cfg.SOLVER.update(keys)
    with pytest.raises(ValueError, match=r"IMS_PER_BATCH is \d; wanted a multiple .* SOLVER\.ACCUMULATE, which is \d"):
        Trainer.build_train_loader(cfg)


def test_other_samplers_of_detectron2_work(cfg: CfgNode) -> None:
    cfg.DATALOADER.SAMPLER_TRAIN = "RandomSubsetTrainingSampler"
    cfg.DATALOADER.RANDOM_SUBSET_RATIO = 0.2
    assert len(set(first_files(cfg, batches=10))) == 4


def test_testing_shows_each_image_once(cfg: CfgNode) -> None:
    found = [sample["file_name"] for batch in Trainer.build_test_loader(cfg, cfg.DATASETS.TEST[0]) for sample in batch]
    assert found == sorted(set(found))
    assert len(found) == 20
