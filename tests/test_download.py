"""Servers that are slow, endless or wrong: each download ends, says why, and leaves nothing. Local only."""

import contextlib
import hashlib
import os
import signal
import socketserver
import threading
import time

import pytest
from platforms import needs_signals

from scratchae.data import download

FILE = b"the file that was asked for. " * 20
SUM = hashlib.sha256(FILE).hexdigest()
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(FILE)
WHOLE = OK + LENGTH + b"\r\n" + FILE


@pytest.fixture
def answers(monkeypatch):
    """Each connection gets the next of these answers, the last one again and again; a function gives it in pieces.

    `answers.asked` are the first lines of the requests.
    """

    class Answers(list):
        url, asked = "", []

    given = Answers()
    given.asked = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            lines = list(iter(lambda: self.rfile.readline().strip(), b""))
            given.asked.append(lines[0].decode())
            answer = given.pop(0) if len(given) > 1 else given[0]
            with contextlib.suppress(OSError):  # the other side hangs up
                for piece in answer() if callable(answer) else [answer]:
                    self.wfile.write(piece)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, block_on_close = True, False

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        given.url = f"http://127.0.0.1:{server.server_address[1]}/file"
        yield given
        server.shutdown()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(download, "_PATIENCE", 0.2)


def fetched(answers, path):
    download.fetch([answers.url], path, SUM, "the ways out")
    return path.read_bytes()


def refused(answers, path, message, tries):
    with pytest.raises(download.DownloadError, match=message) as caught:
        fetched(answers, path)
    assert len(answers.asked) == tries and answers.url in str(caught.value) and "the ways out" in str(caught.value)
    assert not path.parent.exists(), "nothing is left behind"


def slowly(start, pause=0.02):
    """All but the last byte of `start` at once, and then that one again and again, for ten seconds."""
    yield start[:-1]
    for _ in range(int(10 / pause)):
        yield start[-1:]
        time.sleep(pause)


def endless(head, piece):
    yield head
    while True:
        yield piece


def redirection(place):
    return b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % place.encode()


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"H", id="the status line"),
        pytest.param(OK + b"X: y", id="a header"),
        pytest.param(OK + b"Content-Length: 9999\r\n" + b"\r\n", id="the file"),
        pytest.param(OK + b"\r\n", id="a file of unknown length"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n0", id="the length of a chunk"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n", id="a chunk"),
        pytest.param(redirection("/file").replace(b"Length: 0", b"Type: text"), id="a redirection"),
    ],
)
def test_a_byte_at_a_time_is_too_slow(tmp_path, answers, impatient, start):
    answers[:] = [lambda: slowly(start)]
    told = r"TimeoutError: (\d+ bytes came in \d\.\d s, expected 1000 per second|timed out)"  # as a busy machine may
    refused(answers, tmp_path / "new" / "file", told, 2)


def test_silence_is_too_slow(tmp_path, answers, impatient):
    answers[:] = [lambda: slowly(WHOLE[:-1], pause=0.5)]
    refused(answers, tmp_path / "new" / "file", "TimeoutError: timed out", 2)


def test_what_is_fast_enough_may_take_longer_than_the_patience(tmp_path, answers, impatient, monkeypatch):
    monkeypatch.setattr(download, "_SLOWEST", 1.0)
    answers[:] = [lambda: (time.sleep(0.01) or WHOLE[20 * i :][:20] for i in range(40))]
    assert fetched(answers, tmp_path / "file") == FILE and len(answers.asked) == 1


def test_the_whole_has_a_deadline(tmp_path, answers, monkeypatch):
    monkeypatch.setattr(download, "_DEADLINE", 0.4)
    answers[:] = [lambda: (time.sleep(0.01) or piece for piece in endless(OK + b"\r\n", b"fifty bytes each 10 ms" * 2))]
    refused(answers, tmp_path / "new" / "file", r"TimeoutError: not complete after 0\.4 s and \d+ bytes", 2)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (OK + b"\r\n", b"x" * 10_000),
        (OK + b"Content-Length: 1000000000000000000\r\n\r\n", b"x" * 10_000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"3e8\r\n" + b"x" * 1000 + b"\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b"x" * 10_000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", b"x" * 10_000),
        (redirection("/").replace(b"Length: 0", b"Type: text"), b"x" * 10_000),
    ],
)
def test_a_file_without_end_is_too_large(tmp_path, answers, monkeypatch, head, piece):
    monkeypatch.setattr(download, "_LARGEST", 1_000_000)
    answers[:] = [lambda: endless(head, piece)]
    refused(answers, tmp_path / "new" / "file", "more than 1000000 bytes came, expected fewer", 1)


@pytest.mark.parametrize("head", [b"x: y\r\n" * 200, b"x" * 70_000 + b"\r\n", b"no header\r\n", b""])
def test_headers_without_sense_are_refused(tmp_path, answers, head):
    answers[:] = [OK + head + LENGTH + b"\r\n" + FILE[:-1], b"\0\xff\r\n" * 9]
    with pytest.raises(download.DownloadError, match="could not download file"):
        fetched(answers, tmp_path / "new" / "file")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("length", [len(FILE) + 5, 10**18])
def test_a_connection_that_ends_too_early_gets_a_second_try(tmp_path, answers, length):
    short = OK + b"Content-Length: %d\r\n\r\n" % length + FILE
    answers[:] = [short, WHOLE]
    assert fetched(answers, tmp_path / "file") == FILE and len(answers.asked) == 2
    answers[:], answers.asked[:] = [short], []
    left = length - len(FILE)
    refused(answers, tmp_path / "new" / "file", f"the connection ended {left} bytes before the end of the file", 2)


def test_a_length_that_is_too_small_gives_another_file(tmp_path, answers):
    answers[:] = [OK + b"Content-Length: 7\r\n\r\n" + FILE]
    refused(answers, tmp_path / "new" / "file", "7 bytes with SHA-256 .* came, expected SHA-256", 1)


@pytest.mark.parametrize("length", [b"-1", b"many", b"9" * 5000, b""])
def test_a_length_that_is_no_number_does_not_matter(tmp_path, answers, length):
    answers[:] = [OK + b"Content-Length: " + length + b"\r\n\r\n" + FILE]
    assert fetched(answers, tmp_path / "file") == FILE


def test_chunks_and_encodings(tmp_path, answers):
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (FILE[:100], FILE[100:]))
    chunked = OK + b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n" + chunks
    answers[:] = [chunked[:-50], chunked + b"0\r\n\r\n"]
    assert fetched(answers, tmp_path / "file") == FILE and len(answers.asked) == 2, "the sum is that of what came"


@pytest.mark.parametrize("scheme", ["file", "ftp", "data", "gopher", "javascript"])
def test_a_redirection_leads_to_no_other_kind_of_address(tmp_path, answers, scheme):
    (tmp_path / "secret").write_bytes(FILE)
    answers[:] = [redirection(f"{scheme}://{tmp_path}/secret")]
    with pytest.raises(download.DownloadError, match=f"{scheme}.* is not allowed|unknown url type: {scheme}"):
        fetched(answers, tmp_path / "new" / "file")
    assert not (tmp_path / "new").exists()
    with pytest.raises(download.DownloadError, match=f"unknown url type: {scheme}"):
        download.fetch([f"{scheme}://{tmp_path}/secret"], tmp_path / "new" / "file", SUM, "")


def test_redirections_end(tmp_path, answers):
    answers[:] = [redirection("/elsewhere"), WHOLE]
    assert fetched(answers, tmp_path / "file") == FILE
    assert answers.asked == ["GET /file HTTP/1.1", "GET /elsewhere HTTP/1.1"]
    for places in (["/file"], ["/there", "/file"], map(str, range(50))):
        answers[:], answers.asked[:] = [*map(redirection, places)] * 20, []
        with pytest.raises(download.DownloadError, match="infinite loop"):
            fetched(answers, tmp_path / "new" / "file")
        assert len(answers.asked) <= 11 and not (tmp_path / "new").exists()


def test_proxies_of_the_environment_are_used(tmp_path, answers, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", answers.url.removesuffix("/file"))
    monkeypatch.setenv("https_proxy", answers.url.removesuffix("/file"))
    answers[:] = [WHOLE]
    download.fetch(["http://mirror.invalid/file"], tmp_path / "file", SUM, "")
    assert (tmp_path / "file").read_bytes() == FILE and answers.asked == ["GET http://mirror.invalid/file HTTP/1.1"]
    answers[:], answers.asked[:] = [b"HTTP/1.1 403 Forbidden\r\n\r\n"], []
    with pytest.raises(download.DownloadError, match="Tunnel connection failed: 403 Forbidden"):
        download.fetch(["https://mirror.invalid/file"], tmp_path / "new" / "file", SUM, "")
    assert {asked.rpartition(" ")[0] for asked in answers.asked} == {"CONNECT mirror.invalid:443"}


@needs_signals
def test_ctrl_c_while_a_server_is_slow_leaves_nothing(tmp_path, answers):
    def interrupting():
        yield WHOLE[:200]
        os.kill(os.getpid(), signal.SIGINT)
        yield from slowly(FILE)

    answers[:] = [interrupting]
    with pytest.raises(KeyboardInterrupt):
        fetched(answers, tmp_path / "new" / "file")
    assert not (tmp_path / "new").exists() and len(answers.asked) == 1
