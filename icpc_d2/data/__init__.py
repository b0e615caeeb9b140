"""The data side: data sets by name, reading of images and label maps, augmentation, and the mapper that joins them.

Importing this package registers every data set of :data:`icpc_d2.data.datasets.DATASETS` with Detectron2.
"""

from icpc_d2.data import datasets  # noqa: F401  (registers the data sets)
from icpc_d2.data.dataset_mapper import SemSegDatasetMapper
from icpc_d2.data.folders import register_folder_dataset
from icpc_d2.data.reading import BadFileError, read_image, read_label

__all__ = ["BadFileError", "SemSegDatasetMapper", "read_image", "read_label", "register_folder_dataset"]
