"""Fetch a published file from one of several addresses. The file gets its name only after its sum was checked."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchae.data.idx import DataError
from scratchae.files.storage import check_place, write_whole

if TYPE_CHECKING:
    from http.client import HTTPResponse

_LARGEST = 64 << 20  # bytes that a server may send for one address; the largest of the files has 26 MB
_PATIENCE = 15.0  # seconds, for each wait for the network
_SLOWEST = 1000.0  # bytes per second, within each `_PATIENCE`: the largest file would take more than 7 hours
_DEADLINE = 1800.0  # seconds for one address: the largest file over a poor mobile connection, with 15 kB/s


class DownloadError(DataError, OSError):
    """A file could not be fetched; the message names it, every address tried and the ways out."""


def fetch(urls: Sequence[str], path: Path, sha256: str, ways_out: str) -> None:
    """Download `path` from the first of `urls` whose content has the SHA-256 sum `sha256`.

    The bytes are written only after the check of the sum, and first under a temporary name. Two processes at once do
    not disturb each other. A failure or Ctrl-C leaves no file behind. Addresses that failed for a temporary reason,
    such as a slow server (`_SLOWEST`, `_DEADLINE`), get a second try. Raises DownloadError (a DataError and an OSError)
    with `ways_out` at the end.
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
    """Whether a second try may succeed. No second try helps where the server refused, or sent another file."""
    return not isinstance(error, ValueError) and getattr(error, "code", 500) >= 500


def _content(url: str, sha256: str) -> bytes:
    import hashlib

    with _open(url) as response:
        content = response.read(_LARGEST)
    if response.length:
        raise ConnectionError(f"the connection ended {response.length} bytes before the end of the file")
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ValueError(f"{len(content)} bytes with SHA-256 {found} came, expected SHA-256 {sha256}")
    return content


def _open(url: str) -> HTTPResponse:
    """The response of `urllib.request.urlopen`, with its proxies and redirections, but over HTTP and HTTPS alone.

    Every byte comes through `_Arriving`, since headers and redirections can be as slow and as long as a file.
    """
    from http import client
    from urllib import request

    deadline = time.monotonic() + _DEADLINE

    class Response(client.HTTPResponse):
        def __init__(self, *arguments: Any, **options: Any):
            super().__init__(*arguments, **options)
            self.fp = io.BufferedReader(_Arriving(self.fp.detach(), deadline))

    class Connection(client.HTTPConnection):
        response_class = Response

    class SecureConnection(client.HTTPSConnection):
        response_class = Response

    class Handler(request.AbstractHTTPHandler):
        http_request = https_request = request.AbstractHTTPHandler.do_request_

        def http_open(self, asked: request.Request) -> HTTPResponse:
            return self.do_open(Connection, asked)

        def https_open(self, asked: request.Request) -> HTTPResponse:
            return self.do_open(SecureConnection, asked)

    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.UnknownHandler(),
        Handler(),
        request.HTTPRedirectHandler(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener.open(request.Request(url, headers={"User-Agent": "scratchae"}), timeout=_PATIENCE)


class _Arriving(io.RawIOBase):
    """The bytes of a connection. Raises where the bytes come too slowly (TimeoutError) or are too many (ValueError)."""

    def __init__(self, connection: io.RawIOBase, deadline: float):
        self._connection, self._deadline = connection, deadline
        self._total, self._recent, self._since = 0, 0, time.monotonic()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        n = self._connection.readinto(buffer) or 0
        if n == 0:  # the end
            return 0
        self._total, self._recent, now = self._total + n, self._recent + n, time.monotonic()
        if self._total > _LARGEST:
            raise ValueError(f"more than {_LARGEST} bytes came, expected fewer")
        if now > self._deadline:
            raise TimeoutError(f"not complete after {_DEADLINE:g} s and {self._total} bytes")
        if (seconds := now - self._since) > _PATIENCE:
            if self._recent < _SLOWEST * seconds:
                raise TimeoutError(f"{self._recent} bytes came in {seconds:.1f} s, expected {_SLOWEST:g} per second")
            self._recent, self._since = 0, now
        return n

    def close(self) -> None:
        self._connection.close()
        super().close()
