"""ICPC on CLIP's ViT-B/16, trained on ADE20K, as configs/ade20k/icpc_ViTB.yaml: at 640 pixels instead of 512."""

from detectron2.config import LazyCall as L

from icpc_d2.modeling import ClipViT

from .common.data import dataloader
from .common.model import LEVELS, model
from .common.schedule import lr_multiplier, optimizer, train

model.backbone = L(ClipViT)(
    architecture="ViT-B-16-quickgelu",
    out_features=[*LEVELS, "global_embed", "dense_embed"],
    blocks=[3, 5, 7, 11],
    drop_path=0.1,
    norm="SyncBN",
    image_size=640,
)
model.prompt.embed_channels = 512
model.alignment.level = "res4"  # whose stride the dense embedding has
for level in LEVELS:
    model.neck.shapes[level].channels = 768
model.window = [640, 426, 4]

_scale, _crop = dataloader.train.mapper.augmentations[:2]
_scale.short_side = 640
_crop.crop_size = [640, 640]
dataloader.test.mapper.augmentations[0].short_side = 640

train.output_dir = "output/lazy/icpc_ViTB"
train.init_checkpoint = "clip_ViT-B-16.pth"
