"""ICPC on CLIP's RN50, trained on ADE20K, as configs/ade20k/icpc_R50.yaml."""

from .common.data import dataloader
from .common.model import model
from .common.schedule import lr_multiplier, optimizer, train

train.output_dir = "output/lazy/icpc_R50"
train.init_checkpoint = "clip_RN50.pth"
