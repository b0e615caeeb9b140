"""The user's own data: a folder with images, label maps and ``classes.txt`` is a data set, without any Python.

    mine/
      classes.txt            one class a line, see icpc_d2.data.class_list
      images/{train,val}/    images of any kind
      labels/{train,val}/    label maps with the same names but for the ending: ids 0..K-1 (255, or with more than 255
                             classes 65535, is ignored), or the ids or colours that classes.txt gives

In a config the split ``train`` is called ``folder:path/to/mine/train``.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from icpc_d2.data.class_list import ignore_label_of, read_class_list
from icpc_d2.data.datasets import set_metadata
from icpc_d2.data.pairing import Pairing, find_files, guess_suffixes, pair_files

logger = logging.getLogger(__name__)

PREFIX = "folder:"
CLASS_FILE = "classes.txt"
NAMED_FILES = 5


def register_folders(names: Iterable[str], suffixes: Sequence[str] = ()) -> None:
    """Register those of the names that are ``folder:<path>/<split>`` by :func:`register_folder_dataset`.

    Those that were registered before are so anew: their ``classes.txt`` may have been corrected since.
    """
    for name in (name for name in names if name.startswith(PREFIX)):
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
        path = Path(name.removeprefix(PREFIX)).expanduser()
        register_folder_dataset(name, path.parent, path.name, suffixes)


def register_folder_dataset(name: str, folder: str | Path, split: str, suffixes: Sequence[str] = ()) -> None:
    """Register ``images/<split>``, ``labels/<split>`` and ``classes.txt`` of a folder by a name for ``DATASETS.TRAIN``.

    Args:
        suffixes: that names of images and of label maps have behind what they share; see
            :func:`icpc_d2.data.pairing.pair_files`.

    Raises:
        FileNotFoundError: one of the three is missing.
        ValueError: ``classes.txt`` cannot be understood.
    """
    folder = Path(folder)
    images, labels, class_file = folder / "images" / split, folder / "labels" / split, folder / CLASS_FILE
    if missing := [str(path) for path in (images, labels, class_file) if not path.exists()]:
        comma = f" There is '{PREFIX}' twice in it: is a comma missing?" if name.count(PREFIX) > 1 else ""
        raise FileNotFoundError(
            f"The data set '{name}' lacks {', '.join(missing)}. Wanted below {folder}: images/{split}, labels/{split} "
            f"and {CLASS_FILE} with one class name a line. In '{PREFIX}...' the last part of the path is the split."
            f"{comma}"
        )
    classes = read_class_list(class_file)
    ignore_label = ignore_label_of(len(classes))
    DatasetCatalog.register(name, lambda: load_folder(images, labels, suffixes))
    set_metadata(name, classes, str(images), str(labels), ignore_label)
    MetadataCatalog.get(name).set(label_code=classes.label_code(ignore_label), suffixes=tuple(suffixes))


def load_folder(images: Path, labels: Path, suffixes: Sequence[str] = ()) -> list[dict[str, str]]:
    """List the pairs of two folders as Detectron2's dataset dicts, in the order of their names.

    Files that are left out are counted and named in the log.

    Raises:
        ValueError: there is no pair, or two files of a folder have the same name but for their endings.
    """
    pairing = pair_files(images, labels, suffixes)
    if pairing.repeated:
        twice = ", ".join(map(str, pairing.repeated[0]))
        raise ValueError(f"files with the same stem: {twice}; a label map belongs to one.")
    if not pairing.pairs:
        raise ValueError(f"{_without_pairs(images, labels, suffixes)}{_left_out(pairing)}")
    if pairing.left_out:
        logger.warning("%s: %d pairs are used.%s", images, len(pairing.pairs), _left_out(pairing))
    return [{"file_name": str(pair.image), "sem_seg_file_name": str(pair.label)} for pair in pairing.pairs]


def _without_pairs(images: Path, labels: Path, suffixes: Sequence[str]) -> str:
    names = [list(find_files(folder).files) for folder in (images, labels)]
    guessed = guess_suffixes(*names)
    behind = f" behind {suffixes[0]!r} and {suffixes[1]!r}" if suffixes else ""
    advice = f" All images end with {guessed[0]!r} and all label maps with {guessed[1]!r}:" if guessed else ""
    key = f" set DATASETS.SUFFIXES '{list(guessed)}' (icpc check: --suffixes)." if guessed else ""
    return (
        f"found {len(names[0])} images in {images} and {len(names[1])} label maps in {labels}, and no image has a "
        f"label map of the same name (without ending{behind}).{advice}{key}"
    )


def _left_out(pairing: Pairing) -> str:
    """Describe the files that are in no pair; "" if there are none."""
    parts = []
    for reason, paths in pairing.left_out.items():
        kinds = Counter(path.suffix.lower() or "without ending" for path in paths)
        by_kind = f" ({', '.join(f'{count} {kind}' for kind, count in kinds.items())})" if "kinds" in reason else ""
        names = ", ".join(path.name for path in paths[:NAMED_FILES]) + ", ..." * (len(paths) > NAMED_FILES)
        parts.append(f" {len(paths)} {reason} are left out{by_kind}: {names}.")
    return "".join(parts)
