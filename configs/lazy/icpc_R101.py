"""ICPC on CLIP's RN101, trained on ADE20K, as configs/ade20k/icpc_R101.yaml."""

from .common.data import dataloader
from .common.model import model
from .common.schedule import lr_multiplier, optimizer, train

model.backbone.architecture = "RN101-quickgelu"
model.prompt.embed_channels = 512
train.output_dir = "output/lazy/icpc_R101"
train.init_checkpoint = "clip_RN101.pth"
