"""ICPC with a tiny CLIP on generated scenes, on a CPU, as configs/quickstart/icpc_tiny.yaml but from random weights."""

from .common.data import dataloader
from .common.model import model
from .common.schedule import lr_multiplier, optimizer, train

model.backbone.architecture = "tiny-RN"
model.backbone.image_size = 0  # the architecture's
model.prompt.embed_channels = 128
model.prompt.width = 64
model.context_decoder.update(width=64, num_heads=2, num_layers=2)
for level, channels in dict(res2=64, res3=128, res4=256, res5=512).items():
    model.neck.shapes[level].channels = channels
model.neck.out_channels = 64
model.sem_seg_head.conv_dims = 64
model.sem_seg_head.norm = "BN"
model.alignment_loss.contrastive_weight = 0.1
model.window = None
model.pad_to_stride = True
model.backbone.norm = "BN"
model.prompt.context_init = "coop"
model.neck.init = model.sem_seg_head.init = "detectron2"

dataloader.train.dataset.names = "scenes_sem_seg_train"
dataloader.test.dataset.names = "scenes_sem_seg_val"
# LazyConfig takes each name without an underscore for a part of the config.
_scale, _crop, _flip, _, _pad = dataloader.train.mapper.augmentations
_scale.scale_range, _scale.short_side, _scale.method = [0.8, 1.3], 160, "pillow"
_crop.crop_size = [160, 160]
dataloader.train.mapper.augmentations = [_scale, _crop, _flip, _pad]
dataloader.train.total_batch_size = 4
dataloader.train.num_workers = 2
dataloader.test.mapper.augmentations[0].short_side = 160
dataloader.test.mapper.augmentations[0].method = "pillow"
dataloader.test.num_workers = 2

optimizer.lr = 3e-3
optimizer.weight_decay = 1e-2
optimizer.params.lr_factor_func.multiplier = 1.0
lr_multiplier.warmup_iters = 100
lr_multiplier.warmup_factor = 0.01

train.output_dir = "output/lazy/icpc_tiny"
train.max_iter = 2400
train.checkpointer.period = 1200
train.eval_period = 800
train.device = "cpu"
