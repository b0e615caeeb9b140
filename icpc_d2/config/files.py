"""The config files, in a clone and in an installed package alike."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
# Installed with the package, or beside it in a clone.
_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


def get_config_file(name: str) -> str:
    """Return the path of a config of this project, for ``cfg.merge_from_file``.

    Args:
        name: its path below ``configs/``, such as "ade20k/icpc_R50.yaml".

    Raises:
        FileNotFoundError: with the names that there are.
    """
    for folder in _FOLDERS:
        if (folder / name).is_file():
            return str(folder / name)
    known = sorted(path.relative_to(folder).as_posix() for folder in _FOLDERS for path in folder.rglob("*.yaml"))
    runnable = [path for path in known if not path.startswith("common/")]
    raise FileNotFoundError(f"there is no config '{name}'; wanted is one of: {', '.join(runnable)}")
