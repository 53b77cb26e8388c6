"""Fetch a published file: from one of several places, checked before it gets its name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from scratchae.data.idx import DataError


class DownloadError(DataError, OSError):
    """A file could not be fetched; the message names it, every address tried and the ways out."""


def fetch(
    urls: Sequence[str], path: Path, sha256: str, max_bytes: int, timeout: float = 15.0, ways_out: str = ""
) -> None:
    """Download `path` from the first of `urls` whose content has the SHA-256 sum `sha256`.

    The bytes go to a temporary file of a name of its own beside `path`, which takes the name `path`
    only after its sum was right: two processes at once do not disturb each other, and nothing is
    left behind by a failure or Ctrl-C. Addresses that failed for a passing reason get a second try.

    `max_bytes` bounds the size, `timeout` (seconds) each wait for the network; `ways_out` closes the
    error's message. Raises DownloadError (a DataError and an OSError).
    """
    new_folders = [folder for folder in path.parents if not os.path.exists(folder)]
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    failures: list[str] = []
    try:
        _claim(temporary, path, ways_out)
        hopeless = set()
        for url in [*urls, *urls]:
            if url in hopeless:
                continue
            problem, passing = _try(url, temporary, sha256, max_bytes, timeout)
            if not problem:
                os.replace(temporary, path)
                return
            failures.append(f"{url}: {problem}")
            if not passing:
                hopeless.add(url)
        tried = "\n  ".join(dict.fromkeys(failures))
        raise DownloadError(f"could not download {path.name} to {path.parent}. Tried:\n  {tried}\n{ways_out}")
    finally:
        _clean(temporary, new_folders)


def _claim(temporary: Path, path: Path, ways_out: str) -> None:
    """Create the temporary file, so that a folder nobody may write to is found before the download."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise DownloadError(
            f"cannot write {path.name} to the cache folder {path.parent} ({error}); "
            f"expected a folder that can be written to: set XDG_CACHE_HOME to one. {ways_out}"
        ) from error


def _clean(temporary: Path, new_folders: list[Path]) -> None:
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
        for folder in new_folders:  # innermost first, and only as far as they are empty
            folder.rmdir()


def _try(url: str, temporary: Path, sha256: str, max_bytes: int, timeout: float) -> tuple[str, bool]:
    """Download one address: what went wrong ('' for nothing), and whether it may go better next time."""
    from http.client import HTTPException
    from urllib.error import HTTPError

    try:
        _stream(url, temporary, sha256, max_bytes, timeout)
    except HTTPError as error:
        return str(error), error.code >= 500
    except (OSError, HTTPException) as error:
        return f"{type(error).__name__}: {error}", True
    except ValueError as error:  # a wrong sum or size, or no address at all
        return str(error), False
    return "", False


def _stream(url: str, temporary: Path, sha256: str, max_bytes: int, timeout: float) -> None:
    import hashlib
    from urllib.request import Request, urlopen

    digest, size = hashlib.sha256(), 0
    request = Request(url, headers={"User-Agent": "scratchae"})
    with urlopen(request, timeout=timeout) as response, open(temporary, "wb") as file:
        while chunk := response.read(1 << 16):
            size += len(chunk)
            if size > max_bytes:
                raise ValueError(f"more than {max_bytes} bytes came, expected fewer")
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != sha256:
        raise ValueError(f"{size} bytes with SHA-256 {digest.hexdigest()} came, expected SHA-256 {sha256}")
