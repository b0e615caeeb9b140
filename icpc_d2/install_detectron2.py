"""Detectron2, found, checked and installed, without a compiler.

Detectron2 is not on PyPI under its own name and offers no wheels for current PyTorch. Upstream's code of April 2024
(commit a59f0563) lies on PyPI inside a third party's wheel, ``sal-detectron2`` 0.7.2. It is trusted by its hash alone.
Of that wheel, ``detectron2/`` without its compiled part (built for CPython 3.10) is what we install.

This file is also a program, and needs nothing but Python and pip: no PyTorch, and no Detectron2 of course. So it must
not import the rest of the package::

    python icpc_d2/install_detectron2.py                # the wheel; an importable Detectron2 is left alone
    python icpc_d2/install_detectron2.py --from git     # upstream's main branch, compiled here
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

WHEEL = "sal-detectron2==0.7.2"
WHEEL_SHA256 = "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561"
UPSTREAM = "git+https://github.com/facebookresearch/detectron2.git"
# Upstream's version number has been 0.6 since 2021; the local part names the commit.
VERSION = "0.6+a59f0563"
DIST_INFO = f"detectron2-{VERSION}.dist-info"
STAGING_PREFIX = ".detectron2-staging-"

METADATA = f"""\
Metadata-Version: 2.1
Name: detectron2
Version: {VERSION}
Summary: Detectron2 of April 2024 without its compiled part, taken from the wheel {WHEEL} by icpc_d2
Home-page: https://github.com/facebookresearch/detectron2
License: Apache-2.0
License-File: LICENSE
"""
WHEEL_METADATA = "Wheel-Version: 1.0\nGenerator: icpc_d2\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def find_detectron2() -> Path | None:
    """Return the folder of the Detectron2 that ``import detectron2`` would take, or None. Imports nothing."""
    importlib.invalidate_caches()
    spec = importlib.util.find_spec("detectron2")
    # No origin: a mere folder of that name on the path, such as a clone of the repository.
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def is_supported(package: Path) -> bool:
    """Return whether the Detectron2 at `package` runs without its compiled part, as all do since January 2022.

    The version number does not tell: upstream has called itself 0.6 since 2021.
    """
    develop = package / "utils" / "develop.py"
    return develop.is_file() and "create_dummy_class" in develop.read_text(encoding="utf-8")


def check_detectron2() -> None:
    """Raise ImportError, with the command to run, where Detectron2 is missing or is the release v0.6 of 2021."""
    command = shlex.join([sys.executable, str(Path(__file__).resolve())])
    package = find_detectron2()
    if package is None:
        raise ImportError(f"icpc_d2 needs Detectron2, which is not installed: run `{command}`.", name="detectron2")
    if not is_supported(package):
        found = f"icpc_d2 needs Detectron2 of April 2024 or later, found that of 2021 in {package}"
        raise ImportError(f"{found}: run `{command} --replace`.", name="detectron2")


def install_wheel(site_packages: Path) -> None:
    """Download the pinned wheel and put ``detectron2/``, without its compiled part, into `site_packages`.

    Everything is prepared in a hidden folder beside its destination; the last step is one rename. So whenever this is
    interrupted, Detectron2 is either whole or absent, and running it again mends what is left.
    """
    for leftover in site_packages.glob(STAGING_PREFIX + "*"):
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix=STAGING_PREFIX, dir=site_packages) as staging_name:
        staging = Path(staging_name)
        unpack_wheel(_download_wheel(staging), staging)
        shutil.rmtree(site_packages / DIST_INFO, ignore_errors=True)
        (staging / DIST_INFO).rename(site_packages / DIST_INFO)
        (staging / "detectron2").rename(site_packages / "detectron2")


def unpack_wheel(wheel: Path, folder: Path) -> None:
    """Unpack ``detectron2/`` of `wheel` into `folder`, with metadata by which pip lists and removes it.

    Left out are the compiled part, the stray top-level package ``tools`` and the wheel's own requirements, which forbid
    NumPy 2 without need; ours are in setup.py.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith("detectron2/")]
        names = [name for name in names if not name.startswith("detectron2/_C")]
        archive.extractall(folder, names)
        licence = next(name for name in archive.namelist() if name.endswith(".dist-info/LICENSE"))
        metadata = {
            "METADATA": METADATA.encode(),
            "WHEEL": WHEEL_METADATA.encode(),
            "INSTALLER": b"icpc_d2\n",
            "LICENSE": archive.read(licence),
        }
    dist_info = folder / DIST_INFO
    dist_info.mkdir()
    for name, content in metadata.items():
        (dist_info / name).write_bytes(content)
        names.append(f"{DIST_INFO}/{name}")
    with open(dist_info / "RECORD", "w", newline="", encoding="utf-8") as record:
        rows = csv.writer(record, lineterminator="\n")
        for name in names:
            content = (folder / name).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.writerow((name, f"sha256={digest}", len(content)))
        rows.writerow((f"{DIST_INFO}/RECORD", "", ""))


def main(arguments: list[str] | None = None) -> None:
    """Install Detectron2 into the environment of the Python that runs this, unless a good one is there."""
    parser = argparse.ArgumentParser(description="Install Detectron2 for icpc_d2, unless a good one is there.")
    parser.add_argument("--from", dest="source", choices=("wheel", "git"), default="wheel", help="default: wheel")
    parser.add_argument("--replace", action="store_true", help="remove an installed Detectron2 first")
    options = parser.parse_args(arguments)

    package = find_detectron2()
    if package is not None and not options.replace:
        if not is_supported(package):
            raise SystemExit(f"Found Detectron2 of 2021 in {package}, too old for icpc_d2: run this with --replace.")
        versions = [found.version for found in importlib.metadata.distributions(name="detectron2")]
        if options.source == "wheel" or versions[:1] != [VERSION]:
            print(f"Detectron2 is there already, left alone: {package}")
            return
    if package is not None:
        _pip("uninstall", "--yes", "detectron2")
        if find_detectron2() is not None:
            raise SystemExit(f"pip did not remove the Detectron2 in {package}: remove it by hand, then run this again.")
    if options.source == "git":
        if importlib.util.find_spec("torch") is None:
            raise SystemExit("Detectron2 is compiled against PyTorch, which is not installed: install torch first.")
        # Without build isolation, pip leaves it to us to provide the tools of the build.
        _pip("install", "setuptools", "wheel")
        _pip("install", "--no-build-isolation", UPSTREAM)
    else:
        install_wheel(Path(sysconfig.get_path("purelib")))

    package = find_detectron2()
    if package is None or not is_supported(package):
        raise SystemExit(f"Installed Detectron2, but Python finds {package or 'none'}: remove that from PYTHONPATH.")
    print(f"Detectron2 installed: {package}")


def _download_wheel(folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
    # The wheel calls itself one for CPython 3.10, because of the compiled part that we leave out.
    target = ("--python-version", "3.10", "--implementation", "cp", "--abi", "none", "--platform", "any")
    options = ("--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", str(folder))
    _pip("download", *options, *target, "--requirement", str(requirements))
    return next(folder.glob("*.whl"))


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if subprocess.run(command, env=environment, check=False).returncode != 0:
        raise SystemExit(f"Detectron2 was not installed, because this failed (see above): {shlex.join(command)}")


if __name__ == "__main__":
    main()
