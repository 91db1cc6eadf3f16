"""What lies in a cache is used without a word to the network; what is missing is said after one attempt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from textregion import UserError
from textregion.checkpoints import hub
from textregion.checkpoints.hub import Need, cached_file, fetch, missing, readable, total_size, why_unreachable


class Network:
    """What stands for the hub: counts what it is asked, and answers or not."""

    def __init__(self, answer: Callable[[], object] = lambda: None, has: tuple[str, ...] = ()) -> None:
        self.asked: list[str] = []
        self.downloaded: list[str] = []
        self._answer, self._has = answer, has

    def head(self, url: str, timeout: float) -> object:
        """One attempt."""
        self.asked.append(url)
        assert timeout <= 5
        return self._answer()

    def download(self, repository: str, filename: str, **where: Any) -> str:
        """A file of a repository."""
        self.downloaded.append(f"{repository}/{filename}")
        if filename not in self._has:
            raise EntryNotFoundError(f"no {filename}")
        return f"/cache/{filename}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    return tmp_path


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Network]:
    """Put a network in the place of the hub's client."""

    def install(*args: Any, **settings: Any) -> Network:
        made = Network(*args, **settings)
        monkeypatch.setattr(huggingface_hub, "get_session", lambda: made)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", made.download)
        return made

    return install


def _put(cache: Path, repository: str, name: str, commit: str = "0a1b", refs: bool = True) -> Path:
    root = cache / f"models--{repository.replace('/', '--')}"
    path = root / "snapshots" / commit / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    if refs:
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / "main").write_text(commit)
    return path


def _refuse() -> object:
    raise OSError("[Errno 111] Connection refused")


WEIGHTS = Need("somebody/model", ("model.safetensors", "model.bin"), 1_712_000_000)
TOKENIZER = Need("somebody/words", ("tokenizer.json",), 34_400_000)
EXTRA = Need("somebody/words", ("tokenizer_config.json",), optional=True)


def test_the_client_has_what_is_called() -> None:
    assert callable(huggingface_hub.get_session) and callable(huggingface_hub.hf_hub_download)
    assert callable(huggingface_hub.get_session().head)


@pytest.mark.parametrize("refs", [True, False])
def test_what_is_cached_asks_no_network(cache: Path, network: Callable[..., Network], refs: bool) -> None:
    path = _put(cache, "somebody/model", "model.bin", refs=refs)
    _put(cache, "somebody/words", "tokenizer.json", refs=refs)
    asked = network(_refuse)
    assert WEIGHTS.path == path
    fetch([WEIGHTS, TOKENIZER, EXTRA])  # what is optional is not worth an attempt
    assert asked.asked == asked.downloaded == []


def test_the_note_of_the_newest_snapshot_goes_first(cache: Path) -> None:
    _put(cache, "somebody/model", "model.bin", commit="new")
    old = _put(cache, "somebody/model", "model.bin", commit="old", refs=False)
    old.touch()
    assert (
        cached_file("somebody/model", "model.bin")
        == cache / "models--somebody--model" / "snapshots" / "new" / "model.bin"
    )


def test_a_link_to_nowhere_is_not_there(cache: Path) -> None:
    path = _put(cache, "somebody/model", "model.bin")
    path.unlink()
    path.symlink_to(cache / "blobs" / "gone")
    assert cached_file("somebody/model", "model.bin") is None


def test_a_folder_of_ones_own_goes_before_the_hubs(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    own = tmp_path_factory.mktemp("own")
    shared = _put(cache, "somebody/model", "model.bin")
    assert cached_file("somebody/model", "model.bin", own) == shared
    mine = _put(own, "somebody/model", "model.bin")
    assert cached_file("somebody/model", "model.bin", own) == mine


def test_what_is_missing_is_one_sentence_after_one_attempt(cache: Path, network: Callable[..., Network]) -> None:
    asked = network(_refuse)
    with pytest.raises(UserError) as caught:
        fetch([WEIGHTS, TOKENIZER, EXTRA, WEIGHTS])
    said = str(caught.value)
    assert said.startswith(
        "The model hub huggingface.co cannot be reached ([Errno 111] Connection refused), and this is needed and not "
        "on this machine: model.safetensors of somebody/model (about 1.7 GB), tokenizer.json of somebody/words "
        "(about 34 MB); "
    )
    assert "python -m textregion.weights" in said and "\n" not in said
    assert asked.asked == ["https://huggingface.co"] and asked.downloaded == []


def test_a_network_that_drops_everything_is_given_up(
    cache: Path, network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = threading.Event()
    asked = network(hanging.wait)
    monkeypatch.setattr(hub, "PROBE_SECONDS", -0.95)  # and one second
    assert why_unreachable() == "The model hub huggingface.co does not answer"
    assert len(asked.asked) == 1
    hanging.set()


def test_the_attempt_takes_less_than_ten_seconds() -> None:
    assert 1 <= hub.PROBE_SECONDS <= 8


def test_offline_mode_is_taken_at_its_word(
    cache: Path, network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = network()
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"^HF_HUB_OFFLINE is set, and this is needed"):
        fetch([WEIGHTS])
    assert asked.asked == asked.downloaded == []


def test_another_endpoint_is_the_one_that_is_asked(
    cache: Path, network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = network(_refuse)
    monkeypatch.setattr(hub.constants, "ENDPOINT", "https://mirror.example/hub")
    assert str(why_unreachable()).startswith("The model hub mirror.example cannot be reached")
    assert asked.asked == ["https://mirror.example/hub"]


def test_what_answers_is_downloaded_the_first_that_is_there_and_announced(
    cache: Path, network: Callable[..., Network]
) -> None:
    asked = network(has=("model.bin", "tokenizer.json"))
    announced: list[list[Need]] = []
    fetch([WEIGHTS, TOKENIZER, EXTRA], lambda needs: announced.append(list(needs)))
    assert announced == [[WEIGHTS, TOKENIZER]]
    assert asked.downloaded == [
        "somebody/model/model.safetensors", "somebody/model/model.bin", "somebody/words/tokenizer.json",
        "somebody/words/tokenizer_config.json",
    ]  # fmt: skip
    assert len(asked.asked) == 1


def test_what_a_repository_does_not_have(cache: Path, network: Callable[..., Network]) -> None:
    network()
    with pytest.raises(UserError, match=r"'somebody/model' has no model\.safetensors or model\.bin: name another"):
        fetch([WEIGHTS])


def test_a_download_that_breaks_off(
    cache: Path, network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    network()

    def broken(*args: Any, **settings: Any) -> str:
        raise LocalEntryNotFoundError("the network went away")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    with pytest.raises(UserError, match=r"cannot be downloaded \(the network went away\): try again"):
        fetch([WEIGHTS])


def test_sizes_for_people() -> None:
    assert [readable(size) for size in (None, 10, 34_400_000, 999_000_000, 1_712_000_000)] == [
        "size not known", "about 1 MB", "about 34 MB", "about 999 MB", "about 1.7 GB"
    ]  # fmt: skip
    unknown = Need("a/b", ("c",))
    assert total_size([WEIGHTS, TOKENIZER]) == "about 1.7 GB"
    assert total_size([WEIGHTS, unknown]) == "about 1.7 GB and more"
    assert total_size([unknown]) == "size not known"
    assert missing([WEIGHTS, WEIGHTS, unknown]) == [WEIGHTS, unknown]
