"""From a config file and KEY VALUE pairs to a config: every key known, every value of its key's type."""

import logging
from ast import literal_eval
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from operator import attrgetter
from pathlib import Path
from reprlib import repr  # shortens
from typing import Any

from detectron2.config import CfgNode, get_cfg

from icpc_d2.config.keys import add_icpc_config

logger = logging.getLogger(__name__)

MAX_KEYS = 10_000  # Detectron2 has some 400
_PACKAGE = Path(__file__).parents[1]
# The config files: installed with the package, or beside it in a clone.
_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


class ConfigError(ValueError):
    """A config that asks for what cannot be; the message names the key, what was found and what was wanted."""


def get_config_file(name: str) -> str:
    """Return the path of a config such as "ade20k/icpc_R50.yaml", below ``configs/``, for ``cfg.merge_from_file``.

    Those that end in ".py" are for ``LazyConfig.load``.

    Raises:
        FileNotFoundError: with the names that there are.
    """
    for folder in _FOLDERS:
        if (folder / name).is_file():
            return str(folder / name)
    files = [(folder, path) for folder in _FOLDERS for ending in ("yaml", "py") for path in folder.rglob(f"*.{ending}")]
    known = sorted(path.relative_to(folder).as_posix() for folder, path in files)
    runnable = [path for path in known if not path.startswith(("common/", "lazy/common/"))]
    raise FileNotFoundError(f"there is no config '{name}'; wanted is one of: {', '.join(runnable)}")


def load_config(
    config_file: str, options: Sequence[Any] = (), *, text: str | None = None, skip_unknown: bool = False
) -> CfgNode:
    """Read a config. Nothing that the file holds is executed, as Detectron2 does for YAML's Python tags.

    Args:
        config_file: YAML; ``_BASE_`` names the files that it changes.
        options: KEY VALUE pairs of the command line, which change it again.
        text: the YAML itself where it is part of another file, such as a checkpoint, which `config_file` then names.
        skip_unknown: leave out keys that are unknown here, as a config that another release has written may have; a
            warning names them.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value of another type than its default.
    """
    cfg = get_cfg()
    add_icpc_config(cfg)
    known = dict(leaves(cfg))
    skipped = []
    for key, value in _read(config_file, text):
        if key in known or not skip_unknown or _is_section(key, known):
            _set(cfg, known, key, value, config_file)
        else:
            skipped.append(key)
    if skipped:
        logger.warning(f"{config_file} has keys that are unknown here, of another release, left out: {skipped}.")
    if len(options) % 2:
        raise ConfigError(f"Options come in pairs of KEY VALUE; found {len(options)}: {' '.join(map(str, options))}")
    for key, value in zip(options[::2], options[1::2], strict=True):
        _set(cfg, known, key, value, "the command line")
    return cfg


def is_set(key: str, config_file: str, options: Sequence[Any] = ()) -> bool:
    """Return whether a config file, one of its bases, or the command line gives the key a value, be it its default."""
    return key in options[::2] or any(name == key for name, _ in _read(config_file, None))


def leaves(node: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ("SOLVER.MAX_ITER", value) for each value of a nested dict."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nearest(name: str, known: Sequence[str]) -> str:
    """Return " Did you mean ...?" with the known name that is most like `name`; empty if none is like it."""
    matches = get_close_matches(name, known, 1) or get_close_matches(name.upper(), known, 1)
    return f" Did you mean {matches[0]}?" if matches else ""


def _read(config_file: str, text: str | None) -> list[tuple[str, Any]]:
    """Return the keys and values of a file and of its bases."""
    try:
        content = CfgNode.load_yaml_with_base(config_file) if text is None else CfgNode.load_cfg(text)
        # YAML's references can make a few lines endless.
        found = list(islice(leaves(content), MAX_KEYS + 1))
        wrong = f"it has more than {MAX_KEYS} keys" if len(found) > MAX_KEYS else ""
    except Exception as error:  # of YAML, of a file that is not there, that is its own base, or holds something else
        wrong = f"{type(error).__name__}: {error}"
    if wrong:
        raise ConfigError(f"{config_file} cannot be read as a config: {' '.join(wrong.split())}")
    return found


def _is_section(key: str, known: Mapping[str, Any]) -> bool:
    return any(name.startswith(f"{key}.") for name in known)


def _set(cfg: CfgNode, known: Mapping[str, Any], key: str, value: Any, source: str) -> None:
    """Change one key of the config, in place."""
    if key not in known:
        is_section = _is_section(key, known)
        hint = " It is a section: name one of its keys." if is_section else nearest(key, list(known))
        raise ConfigError(f"{source}: there is no config key {key}.{hint}")
    default = known[key]
    if key == "MODEL.CLASS_WEIGHTS" and isinstance(value, str) and value.isidentifier():
        value = [value]  # the name of a rule, where yacs knows lists alone
    try:
        cfg.merge_from_list([key, value])
        new = attrgetter(key)(cfg)
        # yacs takes a null for a value of any type.
        fits = (new is not None or default is None) and _elements_fit(new, default)
    except Exception:  # what yacs says of a value depends on what it tries to make of it
        fits = False
    if not fits:
        hint = ""
        if isinstance(default, list | tuple) and isinstance(_literal(value), str):
            hint = ' A list needs a comma, and quotation marks around names: \'("name",)\' or \'["one", "two"]\'.'
        raise ConfigError(
            f"{source}: {key} is {repr(value)}, wanted a value of type {type(default).__name__}, as {repr(default)}."
            f"{hint}"
        )


def _literal(value: Any) -> Any:
    """Return what yacs makes of a value on the command line: ``("a")`` is a text, ``("a",)`` a tuple."""
    try:
        return literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        return value


def _elements_fit(value: Any, default: Any) -> bool:
    """Tell whether the elements of a list of numbers, or of strings, are such again; yacs does not look."""
    for kind in (str, int | float):
        if isinstance(default, list | tuple) and default and all(isinstance(element, kind) for element in default):
            return all(isinstance(element, kind) for element in value)
    return True
