"""The user's own data: a folder with images, label maps and ``classes.txt`` is a data set, without any Python.

    mine/
      classes.txt            one class a line, see icpc_d2.data.class_list
      images/{train,val}/    images of any kind
      labels/{train,val}/    label maps with the same stems: ids 0..K-1 (255, or with more than 255 classes 65535, is
                             ignored), or colours, if classes.txt says which

In a config the split ``train`` is called ``folder:path/to/mine/train``.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from icpc_d2.data.class_list import ignore_label_of, read_class_list
from icpc_d2.data.datasets import set_metadata

logger = logging.getLogger(__name__)

PREFIX = "folder:"
CLASS_FILE = "classes.txt"
ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm")
NAMED_FILES = 5


def register_folders(names: Iterable[str]) -> None:
    """Register those of the names that are ``folder:<path>/<split>`` by :func:`register_folder_dataset`."""
    for name in names:
        if name.startswith(PREFIX) and name not in DatasetCatalog.list():
            path = Path(name.removeprefix(PREFIX)).expanduser()
            register_folder_dataset(name, path.parent, path.name)


def register_folder_dataset(name: str, folder: str | Path, split: str) -> None:
    """Register ``images/<split>``, ``labels/<split>`` and ``classes.txt`` of a folder by a name for ``DATASETS.TRAIN``.

    Raises:
        FileNotFoundError: one of the three is missing.
        ValueError: ``classes.txt`` cannot be understood.
    """
    folder = Path(folder)
    images, labels, class_file = folder / "images" / split, folder / "labels" / split, folder / CLASS_FILE
    if missing := [str(path) for path in (images, labels, class_file) if not path.exists()]:
        raise FileNotFoundError(
            f"The data set '{name}' lacks {', '.join(missing)}. Wanted below {folder}: images/{split}, labels/{split} "
            f"and {CLASS_FILE} with one class name a line. In '{PREFIX}...' the last part of the path is the split."
        )
    classes = read_class_list(class_file)
    ignore_label = ignore_label_of(len(classes))
    DatasetCatalog.register(name, lambda: load_folder(images, labels))
    set_metadata(name, classes, str(images), str(labels), ignore_label)
    MetadataCatalog.get(name).set(label_colors=classes.color_table(ignore_label))


def load_folder(images: Path, labels: Path) -> list[dict[str, str]]:
    """List the pairs of two flat folders as Detectron2's dataset dicts, in the order of their names.

    Raises:
        ValueError: there is no pair, or two files of a folder have the same stem.
    """
    image_files, label_files = files_by_stem(images), files_by_stem(labels)
    for files in (image_files, label_files):
        if twice := [paths for paths in files.values() if len(paths) > 1]:
            raise ValueError(f"files with the same stem: {', '.join(map(str, twice[0]))}; a label map belongs to one.")
    stems = sorted(image_files.keys() & label_files.keys())
    if not stems:
        raise ValueError(
            f"found {len(image_files)} images in {images} and {len(label_files)} label maps in {labels}, and no image "
            "has a label map of the same name (without ending)."
        )
    for what, alone in (
        ("images without a label map", image_files.keys() - label_files.keys()),
        ("label maps without an image", label_files.keys() - image_files.keys()),
    ):
        if alone:
            names = ", ".join(sorted(alone)[:NAMED_FILES])
            logger.warning("%s: %d %s are left out: %s.", images, len(alone), what, names)
    return [{"file_name": str(image_files[stem][0]), "sem_seg_file_name": str(label_files[stem][0])} for stem in stems]


def files_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Return a folder's image files by their names without ending, but for hidden files and those of other kinds."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if not path.name.startswith(".") and path.name.lower().endswith(ENDINGS):
            files.setdefault(path.stem, []).append(path)
    return files
