"""Addresses of weights, against a server of this machine and caches laid out here."""

import hashlib
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from detectron2.utils.file_io import PathManager
from huggingface_hub import constants

from icpc_d2.checkpoint import download, sources
from icpc_d2.checkpoint.sources import SHIPPED, hash_of_located, locate, parse_clip
from tests.support.hub import Hub, fill_cache, running

CONTENT = b"weights" * 3000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
REPOSITORY, FILE = "timm/resnet50_clip.openai", "open_clip_model.safetensors"
ON_HUB, PUBLISHED = f"/{REPOSITORY}/resolve/main/{FILE}", f"/clip/{DIGEST}/RN50.pt"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub and the server of OpenAI, both on this machine, with caches of the test."""
    with running(Hub({ON_HUB: CONTENT, PUBLISHED: CONTENT})) as hub:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        # The hub's own pauses between attempts.
        patience = SimpleNamespace(sleep=lambda _: None, time=time.time)
        monkeypatch.setattr("huggingface_hub.file_download.time", patience)
        monkeypatch.setattr(sources, "get_pretrained_cfg", lambda model, tag: entry(hub.address))
        yield hub


def entry(address: str, repository: str = f"{REPOSITORY}/") -> dict[str, str]:
    """What open_clip's list has for clip://RN50."""
    return {"hf_hub": repository, "url": address + PUBLISHED, "quick_gelu": True}


def test_the_hub_is_first(hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "icpc_d2"):
        file = locate("clip://RN50")
    assert Path(file).read_bytes() == CONTENT and Path(file).is_relative_to(tmp_path / "hub")
    assert hub.fetched == [ON_HUB]
    assert hash_of_located("clip://RN50") == DIGEST and f"SHA-256 {DIGEST}" in caplog.text
    assert locate("clip://RN50") == file and hub.fetched == [ON_HUB], "the cache is used without a question"


def test_a_file_of_the_older_kind_will_do(hub: Hub) -> None:
    hub.files = {ON_HUB.replace(FILE, "open_clip_pytorch_model.bin"): CONTENT}
    assert Path(locate("clip://RN50")).name == "open_clip_pytorch_model.bin"


@pytest.mark.parametrize("mode", ["absent", "cut", "other", "page"])
def test_where_the_hub_fails_the_published_file_is_taken(mode: str, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.mode = mode
    with running(Hub({PUBLISHED: CONTENT})) as other:
        monkeypatch.setattr(sources, "get_pretrained_cfg", lambda *_: entry(other.address))
        file = Path(locate("clip://RN50"))
    assert file == Path.home() / ".cache/clip/RN50.pt" and file.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("mode", "reasons"),
    [
        ("absent", [f"{REPOSITORY} has no {FILE} or open_clip_pytorch_model.bin", "HTTP Error 404"]),
        ("silent", ["timed out", "the server was silent for 0.3 s"]),
        ("cut", ["peer closed connection", "broke off after 10500 of 21000 bytes"]),
        ("other", [f"{FILE} has another hash than the hub says", "is another file than wanted: its SHA-256 is"]),
        ("page", ["X-Repo-Commit", "than wanted, a web page, as proxies and log-ins send it"]),
    ],
)
def test_servers_that_fail_end_in_one_sentence(
    mode: str, reasons: list[str], hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.mode = mode
    if mode == "silent":
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.3)
        monkeypatch.setattr(download, "TIMEOUT", 0.3)
    with pytest.raises(OSError) as error:
        locate("clip://RN50")
    message = str(error.value)
    assert message.startswith("Cannot get clip://RN50. ") and len(message) < 1000
    assert all(reason in message for reason in reasons), message
    assert f"hf download {REPOSITORY} {FILE} ; then copy models--timm--resnet50_clip.openai" in message
    assert message.endswith(f"to {tmp_path / 'hub'}.")
    found = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".lock", ".TAG")]
    assert not [path for path in found if path.stat().st_size >= 1000], "nothing that a next run would take for whole"


def test_without_network(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match=r"Cannot get clip://RN50\. .*offline.* hf download timm/resnet50_clip\.openai"):
        locate("clip://RN50")
    assert hub.fetched == [], "offline mode is the published file's, too"
    published = tmp_path / ".cache/clip/RN50.pt"
    published.parent.mkdir(parents=True)
    published.write_bytes(CONTENT)
    assert locate("clip://RN50") == str(published)
    cached = fill_cache(tmp_path / "hub", REPOSITORY, FILE, CONTENT)
    assert locate("clip://RN50") == str(cached)
    assert hub.fetched == []


def test_a_cached_file_that_was_changed_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    cached = fill_cache(tmp_path / "hub", REPOSITORY, FILE, CONTENT)
    cached.resolve().write_bytes(CONTENT[:100])
    assert Path(locate("clip://RN50")).read_bytes() == CONTENT
    assert hub.fetched == [ON_HUB]


def fetch_in(queue: multiprocessing.Queue) -> None:
    queue.put(hashlib.sha256(Path(PathManager.get_local_path("clip://RN50")).read_bytes()).hexdigest())


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize(("count", "pause"), [(2, 0.3), (4, 0)])
def test_processes_share_one_download(
    published: bool, count: int, pause: float, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that starts while another is in the middle of it leaves that one's file alone, and waits."""
    hub.mode = "slow"
    if published:
        monkeypatch.setattr(sources, "get_pretrained_cfg", lambda *_: entry(hub.address, ""))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=fetch_in, args=(queue,)) for _ in range(count)]
    for process in processes:
        process.start()
        time.sleep(pause)
    assert [queue.get(timeout=30) for _ in processes] == [DIGEST] * count
    for process in processes:
        process.join()
    assert hub.fetched == [PUBLISHED if published else ON_HUB]
    assert not list(tmp_path.rglob(".tmp-*")) and not list(tmp_path.rglob("*.incomplete"))


def test_what_a_killed_run_left_is_removed(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "get_pretrained_cfg", lambda *_: entry(hub.address, ""))
    leftover = Path.home() / ".cache/clip/.tmp-1-RN50.pt"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(CONTENT[:50])
    assert Path(locate("clip://RN50")).read_bytes() == CONTENT
    assert not leftover.exists()


def test_a_model_of_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files = {"/me/mine/resolve/main/model.safetensors": CONTENT, "/me/mine/resolve/v2/other.pth": CONTENT[::-1]}
    assert Path(locate("hf://me/mine")).read_bytes() == CONTENT
    assert Path(locate("hf://me/mine@v2/other.pth")).read_bytes() == CONTENT[::-1]
    with pytest.raises(OSError, match=r"Cannot get hf://me/yours\. .* has no model\.safetensors\. On a machine"):
        locate("hf://me/yours")
    for address in ("hf://mine", "hf://me//mine", "hf://me/mine/"):
        with pytest.raises(ValueError, match="is no address of the hub, wanted hf://OWNER/NAME"):
            locate(address)


def test_openmmlabs_resnets(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"resnet50_v1c-{DIGEST[:8]}.pth"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(sources, "OPENMMLAB_URL", hub.address + "/third_party")
    monkeypatch.setattr(sources, "OPENMMLAB_FILES", {"resnet50_v1c": name})
    with pytest.raises(
        OSError, match=rf"Cannot get openmmlab://resnet50_v1c: .*404.* curl -LO .*/{name} ; then put it"
    ):
        locate("openmmlab://resnet50_v1c")
    hub.files = {f"/third_party/{name}": CONTENT}
    assert Path(locate("openmmlab://resnet50_v1c")).read_bytes() == CONTENT
    assert (tmp_path / "torch/hub/checkpoints" / name).is_file()
    with pytest.raises(ValueError, match="'openmmlab://resnet18' is unknown; there are openmmlab://resnet50_v1c"):
        locate("openmmlab://resnet18")


@pytest.mark.parametrize(
    ("address", "repository", "quick_gelu", "sha256"),
    [
        (
            "clip://RN50",
            "timm/resnet50_clip.openai",
            True,
            "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
        ),
        ("clip://RN50/cc12m", "timm/resnet50_clip.cc12m", True, "f000538c"),
        ("clip://RN50x4/openai", "timm/resnet50x4_clip.openai", True, "7e526bd1"),
        ("clip://ViT-B-16/laion2b_s34b_b88k", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", False, ""),
        ("clip://ViT-L-14/openai", "timm/vit_large_patch14_clip_224.openai", True, "b8cca3fd"),
        ("clip://ViT-L-14-quickgelu/openai", "timm/vit_large_patch14_clip_224.openai", True, "b8cca3fd"),
        ("clip://ViT-B-32/openai", "timm/vit_base_patch32_clip_224.openai", True, "40d36571"),
        ("clip://ViT-B-32/metaclip_400m", "timm/vit_base_patch32_clip_224.metaclip_400m", True, ""),
    ],
)
def test_addresses_are_open_clips(address: str, repository: str, quick_gelu: bool, sha256: str) -> None:
    source = parse_clip(address)
    assert (source.repository, source.quick_gelu) == (repository, quick_gelu)
    assert source.sha256.startswith(sha256) and bool(source.url) == bool(source.sha256) == bool(sha256)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("clip://RN51", "It has the models: RN101, RN50, .*ViT-L-14"),
        ("clip://RN50/laion", "It has the tags of RN50: openai, yfcc15m, cc12m"),
    ],
)
def test_unknown_names_are_answered_with_the_known(address: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"'{address}' is unknown to open_clip. {message}"):
        PathManager.get_local_path(address)


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model.pth").write_bytes(CONTENT)
    assert locate("~/model.pth") == str(tmp_path / "model.pth")
    assert hash_of_located("~/model.pth") == DIGEST


def test_hash_of_weights_that_come_with_the_package() -> None:
    assert hash_of_located("clip://tiny-RN") == download.sha256_of(SHIPPED / "tiny-RN.safetensors")
    assert hash_of_located("clip://no-such") is None
