"""Servers that answer well up to a random byte, then badly: a download ends in time, with all of the file or none."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common

from scratchae.data import download

N = common.count(1000)
FILE = random.Random(0).randbytes(5000)
SUM = hashlib.sha256(FILE).hexdigest()
LENGTH = b"Content-Length: 5000\r\n\r\n" + FILE
CHUNKS = b"".join(b"3e8\r\n%s\r\n" % FILE[i : i + 1000] for i in range(0, 5000, 1000)) + b"0\r\n\r\n"
ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\n" + LENGTH,
    "no length": b"HTTP/1.0 200 OK\r\n\r\n" + FILE,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "redirection": b"HTTP/1.1 302 Found\r\nLocation: /length/whole/0\r\n" + LENGTH,
}
WAYS = ("whole", "byte by byte", "silent", "closed", "endless", "noise", "again")
download._PATIENCE, download._DEADLINE, download._LARGEST = 0.5, 3.0, 1_000_000
LONGEST = 2 * (download._DEADLINE + download._PATIENCE) + 5  # two tries, and a busy machine
os.environ["no_proxy"] = "127.0.0.1"
over = threading.Event()


def answer(kind: str, way: str, place: int) -> Iterator[bytes]:
    whole = ANSWERS[kind]
    yield whole[:place]
    rest, noise = whole[place:], random.Random(place)
    if way == "whole":
        yield rest
    while way == "silent" and not over.wait(0.1):
        pass
    while way == "byte by byte" and not over.wait(0.02):
        yield rest[:1] or b"x"
        rest = rest[1:]
    while way == "endless" and not over.is_set():
        yield rest or b"x" * 1000
    if way == "noise":
        yield noise.randbytes(len(rest))
    if way == "again":  # the whole answer once more, in the middle of the first
        yield whole


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        path, *_ = iter(lambda: self.rfile.readline().strip(), b"")
        kind, way, place = path.split()[1].decode().strip("/").replace("%20", " ").split("/")
        with contextlib.suppress(OSError):  # the other side hangs up
            for piece in answer(kind, way, int(place)):
                self.wfile.write(piece)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads, block_on_close, request_queue_size = True, False, 64


def attempt(number: int, port: int, folder: Path) -> tuple[str, str | None]:
    """How one download ended, and what was wrong with that."""
    kind, way = list(ANSWERS)[number % len(ANSWERS)], WAYS[number // len(ANSWERS) % len(WAYS)]
    place = random.Random(number).randrange(len(ANSWERS[kind]))
    name = f"{kind}, {way} from byte {place} on"
    path, start = folder / str(number) / "file", time.monotonic()
    try:
        url = f"http://127.0.0.1:{port}/{kind}/{way}/{place}".replace(" ", "%20")
        download.fetch([url], path, SUM, "")
        ended, wrong = "fetched", path.read_bytes() != FILE
    except download.DownloadError:
        ended, wrong = "refused", path.parent.exists() or way == "whole"
    except Exception as error:
        return "failed", f"{name}: {error!r}"
    seconds = time.monotonic() - start
    return ended, f"{name}: {ended} after {seconds:.1f} s" if wrong or seconds > LONGEST else None


def main() -> None:
    with common.folder() as folder, Server(("127.0.0.1", 0), Handler) as server, ThreadPoolExecutor(16) as pool:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        outcomes = list(pool.map(lambda i: attempt(i, server.server_address[1], folder), range(N)))
        over.set()
        server.shutdown()
    fetched = sum(ended == "fetched" for ended, _ in outcomes)
    outcome = (
        f"{N} servers of {len(ANSWERS) * len(WAYS)} kinds: {fetched} files fetched whole, {N - fetched} refused in time"
    )
    common.verdict([problem for _, problem in outcomes if problem], outcome)


main()
