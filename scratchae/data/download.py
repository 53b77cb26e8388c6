"""Fetch a published file: from one of several places, checked before it gets its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scratchae.data.idx import DataError
from scratchae.storage import check_place, write_whole

_LARGEST = 64 << 20  # bytes; the largest of the files has 26 MB
_PATIENCE = 15.0  # seconds, for each wait for the network


class DownloadError(DataError, OSError):
    """A file could not be fetched; the message names it, every address tried and the ways out."""


def fetch(urls: Sequence[str], path: Path, sha256: str, ways_out: str) -> None:
    """Download `path` from the first of `urls` whose content has the SHA-256 sum `sha256`.

    The bytes are written only after their sum was right, under a name of their own until all are there: two processes
    at once do not disturb each other, and nothing is left behind by a failure or Ctrl-C. Addresses that failed for a
    passing reason get a second try. Raises DownloadError (a DataError and an OSError), which `ways_out` closes.
    """
    from http.client import HTTPException

    try:
        check_place(path)
    except OSError as error:
        found = f"cannot write {path.name} to the cache folder {path.parent} ({error})"
        raise DownloadError(f"{found}; set XDG_CACHE_HOME to a folder that can be written to. {ways_out}") from error
    queue = list(urls)
    failures: dict[str, str] = {}
    for url in queue:
        try:
            return write_whole(path, _content(url, sha256))
        except (OSError, HTTPException, ValueError) as error:
            if url not in failures and _passing(error):
                queue.append(url)
            failures[url] = f"\n  {url}: {type(error).__name__}: {error}"
    tried = "".join(failures.values())
    raise DownloadError(f"could not download {path.name} to {path.parent}. Tried:{tried}\n{ways_out}")


def _passing(error: Exception) -> bool:
    """Whether it may go better next time: not where the server said no, or sent something else."""
    return not isinstance(error, ValueError) and getattr(error, "code", 500) >= 500


def _content(url: str, sha256: str) -> bytes:
    import hashlib
    from urllib.request import Request, urlopen

    with urlopen(Request(url, headers={"User-Agent": "scratchae"}), timeout=_PATIENCE) as response:
        content = response.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"more than {_LARGEST} bytes came, expected fewer")
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ValueError(f"{len(content)} bytes with SHA-256 {found} came, expected SHA-256 {sha256}")
    return content
