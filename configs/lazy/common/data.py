"""ADE20K by the paper's recipe. Another data set: its name in ``dataloader.{train,test}.dataset.names``."""

from detectron2.config import LazyCall as L
from detectron2.data import (
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.data import transforms as T
from detectron2.projects.point_rend import ColorAugSSDTransform

from icpc_d2.data import SemSegDatasetMapper
from icpc_d2.data.augmentation import PadTransform, RandomCrop, RandomScale
from icpc_d2.data.dataset_mapper import build_training_mapper
from icpc_d2.data.resizing import ResizeShortestEdge
from icpc_d2.evaluation import SemSegEvaluator

dataloader = dict(
    train=L(build_detection_train_loader)(
        dataset=L(get_detection_dataset_dicts)(names="ade20k_sem_seg_train", filter_empty=False),
        mapper=L(build_training_mapper)(
            datasets="${..dataset.names}",
            augmentations=[
                L(RandomScale)(scale_range=[0.5, 2.0], short_side=512, max_long_side=2048, method="opencv"),
                L(RandomCrop)(
                    crop_size=[512, 512], max_class_area=0.75, ignore_label="${model.sem_seg_head.ignore_value}"
                ),
                L(T.RandomFlip)(horizontal=True),
                L(ColorAugSSDTransform)(img_format="${...image_format}"),
                L(PadTransform)(
                    size="${..1.crop_size}",
                    pixel="${model.pixel_mean}",
                    label="${model.sem_seg_head.ignore_value}",
                ),
            ],
            image_format="RGB",
        ),
        total_batch_size=32,
        num_workers=4,
        aspect_ratio_grouping=False,
    ),
    test=L(build_detection_test_loader)(
        dataset=L(get_detection_dataset_dicts)(names="ade20k_sem_seg_val", filter_empty=False),
        mapper=L(SemSegDatasetMapper)(
            is_train=False,
            augmentations=[L(ResizeShortestEdge)(short_side=512, max_long_side=2048, method="opencv")],
            image_format="RGB",
        ),
        num_workers=4,
    ),
    evaluator=L(SemSegEvaluator)(dataset_name="${..test.dataset.names}"),
)
