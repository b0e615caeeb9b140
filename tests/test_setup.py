"""What a user meets before the first import works: a missing or ancient Detectron2, its installation, our own wheel."""

import csv
import hashlib
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from icpc_d2 import install_detectron2
from icpc_d2.config import get_config_file

ROOT = Path(__file__).parents[1]


def import_icpc(*paths: Path) -> str:
    """Return the last line that ``import icpc_d2`` says where Python sees nothing but `paths` and our own code."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*paths, ROOT]))}
    # -S leaves out site-packages, and so PyTorch too: the check must come before anything heavy.
    command = [sys.executable, "-S", "-c", "import icpc_d2"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd="/")
    return run.stderr.strip().splitlines()[-1]


def make_package(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_missing_detectron2_is_one_sentence_with_a_command_that_runs() -> None:
    message = import_icpc()

    assert message.startswith("ImportError: icpc_d2 needs Detectron2, which is not installed: run `")
    command = shlex.split(re.search("`(.*)`", message)[1])
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "--from" in shown.stdout


def test_folder_named_detectron2_is_no_detectron2(tmp_path: Path) -> None:
    clone = make_package(tmp_path, {"detectron2/README.md": "", "detectron2/detectron2/__init__.py": ""})

    assert "which is not installed" in import_icpc(clone)


def test_release_of_2021_is_refused_with_the_command_that_replaces_it(tmp_path: Path) -> None:
    old = {"detectron2/__init__.py": '__version__ = "0.6"', "detectron2/utils/__init__.py": ""}

    message = import_icpc(make_package(tmp_path, old))

    assert f"found that of 2021 in {tmp_path / 'detectron2'}" in message
    assert message.endswith("--replace`.")


def test_installed_detectron2_is_supported_and_left_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: str) -> None:
        raise AssertionError(f"called pip {arguments}")

    monkeypatch.setattr(install_detectron2, "_pip", refuse)

    install_detectron2.main([])

    assert "left alone" in capsys.readouterr().out


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a wheel laid out like the real one, stand in for its download, and give the folder to install into."""
    path = tmp_path / "sal_detectron2-0.7.2-cp310-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("detectron2/__init__.py", "")
        archive.writestr("detectron2/_C.cpython-310-x86_64-linux-gnu.so", "compiled")
        archive.writestr("detectron2/utils/develop.py", "def create_dummy_class(): ...")
        archive.writestr("tools/__init__.py", "")
        archive.writestr("sal_detectron2-0.7.2.dist-info/LICENSE", "Apache")
        archive.writestr("sal_detectron2-0.7.2.dist-info/METADATA", "Requires-Dist: numpy<2")
    monkeypatch.setattr(install_detectron2, "_download_wheel", lambda folder: path)
    site_packages = tmp_path / "site-packages"
    site_packages.mkdir()
    return site_packages


def test_wheel_is_installed_without_its_compiled_part_and_known_to_pip(wheel: Path) -> None:
    install_detectron2.install_wheel(wheel)

    assert install_detectron2.is_supported(wheel / "detectron2")
    assert not list(wheel.glob("detectron2/_C*"))
    assert sorted(path.name for path in wheel.iterdir()) == ["detectron2", install_detectron2.DIST_INFO]
    (known,) = importlib.metadata.distributions(path=[str(wheel)])
    assert (known.name, known.version, known.requires) == ("detectron2", install_detectron2.VERSION, None)


def test_record_names_every_installed_file_with_its_hash(wheel: Path) -> None:
    install_detectron2.install_wheel(wheel)

    with open(wheel / install_detectron2.DIST_INFO / "RECORD", encoding="utf-8") as record:
        rows = {name: digest for name, digest, _ in csv.reader(record)}
    files = {path.relative_to(wheel).as_posix(): path for path in wheel.rglob("*") if path.is_file()}
    assert rows.keys() == files.keys()
    for name, digest in rows.items():
        expected = urlsafe_b64encode(hashlib.sha256(files[name].read_bytes()).digest()).rstrip(b"=").decode()
        assert digest == ("" if name.endswith("/RECORD") else f"sha256={expected}")


@pytest.mark.parametrize("moment", [1, 2], ids=["before the metadata", "before the package"])
def test_interrupted_installation_leaves_no_detectron2_and_is_mended(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    rename, calls = Path.rename, []

    def interrupted_rename(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == moment:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted_rename)
        with pytest.raises(KeyboardInterrupt):
            install_detectron2.install_wheel(wheel)
    assert not (wheel / "detectron2").exists()

    # A killed process cannot clean up after itself.
    make_package(wheel, {f"{install_detectron2.STAGING_PREFIX}killed/detectron2/__init__.py": ""})
    install_detectron2.install_wheel(wheel)

    assert sorted(path.name for path in wheel.iterdir()) == ["detectron2", install_detectron2.DIST_INFO]


def test_our_wheel_ships_the_command_all_modules_class_lists_architectures_and_configs(tmp_path: Path) -> None:
    for name in ("icpc_d2", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "icpc_cli.py"):
        shutil.copy(ROOT / name, tmp_path)

    build = "import setuptools.build_meta as backend; backend.build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)

    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        shipped = set(archive.namelist())
        (entry_points,) = (name for name in shipped if name.endswith("entry_points.txt"))
        assert archive.read(entry_points).decode().split() == ["[console_scripts]", "icpc", "=", "icpc_cli:main"]
    wanted = [
        path.relative_to(ROOT)
        for path in (ROOT / "icpc_d2").rglob("*")
        if path.suffix in (".py", ".txt", ".json", ".csv")
    ]
    wanted += [Path("icpc_cli.py")]
    wanted += [
        "icpc_d2" / path.relative_to(ROOT)
        for path in (ROOT / "configs").rglob("*.*")
        if path.suffix in (".yaml", ".py")
    ]
    assert {path.as_posix() for path in wanted} <= shipped
    assert not [name for name in shipped if name.startswith(("tests/", "configs/"))]


def test_config_file_is_found_by_its_name() -> None:
    assert Path(get_config_file("ade20k/icpc_R50.yaml")) == ROOT / "configs/ade20k/icpc_R50.yaml"
    with pytest.raises(FileNotFoundError, match="no config 'icpc_R50'.*ade20k/icpc_R50.yaml"):
        get_config_file("icpc_R50")
