"""Files of the model hub: what lies in a cache, what is missing, and one way to get it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.file_download import repo_folder_name

from ..errors import UserError, reason_of

logger = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
"""How long the hub may take to answer before it counts as out of reach."""

CacheFolder = str | os.PathLike[str] | None


@dataclass(frozen=True)
class Need:
    """A file of the hub that a command needs."""

    repository: str
    filenames: tuple[str, ...]
    """Any of them will do; the first that the repository has is downloaded."""
    size: int | None = None
    """About how many bytes it has; None: not known."""
    cache: CacheFolder = None
    """Folder that it is kept in; None: the hub's own."""
    optional: bool = False
    """Whether a repository without it will do."""

    @property
    def path(self) -> Path | None:
        """Where it is; None: nowhere on this machine."""
        found = (cached_file(self.repository, filename, self.cache) for filename in self.filenames)
        return next(filter(None, found), None)

    def __str__(self) -> str:
        return f"{self.filenames[0]} of {self.repository} ({readable(self.size)})"


def readable(size: int | None) -> str:
    """A number of bytes for people: about 1.7 GB."""
    if size is None:
        return "size not known"
    return f"about {size / 1e9:.1f} GB" if size >= 1e9 else f"about {max(1, round(size / 1e6))} MB"


def total_size(needs: Sequence[Need]) -> str:
    """What several files have together."""
    known = sum(need.size or 0 for need in needs)
    unknown = any(need.size is None and not need.optional for need in needs)
    return readable(None) if unknown and not known else readable(known) + (" and more" if unknown else "")


def cached_file(repository: str, filename: str, cache: CacheFolder = None) -> Path | None:
    """A file of a repository in a cache folder, or else in the hub's own; never asks the network."""
    folders = [Path(constants.HF_HUB_CACHE)]
    if cache is not None and Path(cache) not in folders:
        folders.insert(0, Path(cache))
    for folder in folders:
        found = huggingface_hub.try_to_load_from_cache(repository, filename, cache_dir=folder)
        if isinstance(found, str) and os.path.isfile(found):
            return Path(found)
        # A cache that was copied may have lost the note of which snapshot is the newest.
        snapshots = folder / repo_folder_name(repo_id=repository, repo_type="model") / "snapshots"
        files = [file for file in snapshots.glob(f"*/{filename}") if file.is_file()]
        if files:
            return max(files, key=lambda file: file.stat().st_mtime_ns)
    return None


def missing(needs: Sequence[Need]) -> list[Need]:
    """Those that are not on this machine, each once."""
    return [need for need in dict.fromkeys(needs) if need.path is None]


def fetch(needs: Sequence[Need], announce: Callable[[Sequence[Need]], object] | None = None) -> None:
    """Download what is not on this machine, with a bar each; nothing is asked of the network where all is there.

    Args:
        needs: what is needed.
        announce: is told what will be downloaded, before it is.

    Raises:
        UserError: the hub is out of reach, with all that is missing; or it does not have or give a file.
    """
    wanted = missing(needs)
    required = [need for need in wanted if not need.optional]
    if not required:
        return
    reason = why_unreachable()
    if reason is not None:
        raise UserError(
            f"{reason}, and this is needed and not on this machine: {', '.join(map(str, required))}; download it where "
            "there is a network, with python -m textregion.weights and the same options, --download and --to DIR, and "
            "carry the folder here, or give files."
        )
    logger.info("Downloading %s: %s.", total_size(required), ", ".join(map(str, required)))
    if announce is not None:
        announce(required)
    for need in wanted:
        download(need)


def why_unreachable() -> str | None:
    """Why the hub cannot be asked, after one attempt of a few seconds; None: it answers.

    A proxy and another endpoint are used as the hub's client uses them. The attempt is given up from outside, because
    neither looking up a name nor a network that drops packets keeps to a client's time-out.
    """
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    host = urlsplit(constants.ENDPOINT).hostname or constants.ENDPOINT
    outcome: list[str | None] = []
    attempt = threading.Thread(target=lambda: outcome.append(_ask(constants.ENDPOINT)), daemon=True)
    attempt.start()
    attempt.join(PROBE_SECONDS + 1)
    if not outcome:
        return f"The model hub {host} does not answer"
    return None if outcome[0] is None else f"The model hub {host} cannot be reached ({outcome[0]})"


def _ask(url: str) -> str | None:
    """What is wrong with the way to the hub; any answer of a server is one."""
    try:
        huggingface_hub.get_session().head(url, timeout=PROBE_SECONDS)
    except Exception as error:  # requests' before version 1 of the client, httpx' after
        return reason_of(error)
    return None


def download(need: Need, folder: Path | None = None) -> Path | None:
    """Download a file into its cache, or as a plain file into a folder.

    Returns:
        None where it is optional and the repository does not have it.

    Raises:
        UserError: the hub does not have it, or does not give it.
    """
    cache = None if need.cache is None else os.fspath(need.cache)
    for filename in need.filenames:
        try:
            if folder is not None:
                return Path(huggingface_hub.hf_hub_download(need.repository, filename, local_dir=folder))
            return Path(huggingface_hub.hf_hub_download(need.repository, filename, cache_dir=cache))
        except EntryNotFoundError as error:
            if isinstance(error, LocalEntryNotFoundError):  # which is an EntryNotFoundError, but means the network
                raise _not_had(filename, need, error) from None
        except (GatedRepoError, RepositoryNotFoundError) as error:
            what = "asks for consent" if isinstance(error, GatedRepoError) else "does not exist or is private"
            raise UserError(f"Repository {need.repository!r} {what}: see its page, and log in to the hub.") from None
        except Exception as error:  # the client raises errors of many libraries
            raise _not_had(filename, need, error) from None
    if need.optional:
        return None
    raise UserError(f"The repository {need.repository!r} has no {' or '.join(need.filenames)}: name another.")


def _not_had(filename: str, need: Need, error: Exception) -> UserError:
    return UserError(f"{filename!r} of {need.repository!r} cannot be downloaded ({reason_of(error)}): try again.")
