"""Files on a disk: whole for all who write at once, no way through links and pipes, one run for one checkpoint."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from platforms import (
    needs_fork,
    needs_kill,
    needs_links,
    needs_locks,
    needs_long_names,
    needs_open_renames,
    needs_permissions,
    needs_pipes,
)

import scratchae as sa
from scratchae import nn, optim
from scratchae.files import disk
from scratchae.files.disk import FileInUse, check_apart, check_place, locked, write_whole
from scratchae.interop import onnx
from scratchae.plotting.style import finish

ZEROS = np.zeros((1, 2), np.float32)
LEFT = ".0123456789abcdef.part"  # how a temporary name ends


def started(script: str, *arguments: object) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(sa.__file__).parents[1])}
    head = "import os, sys, signal, time\nfrom scratchae.files.disk import *\n"
    command = [sys.executable, "-c", head + script, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o711)
        yield Path(name)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, if the tests have them."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


# --- two writers ----------------------------------------------------------------------------------


@needs_open_renames
def test_eight_threads_that_write_one_file_all_succeed_and_never_tear_it(tmp_path: Path) -> None:
    path, problems, done = tmp_path / "new" / "a", [], threading.Event()
    contents = [bytes([65 + i]) * (100_000 + i) for i in range(8)]

    def write(content: bytes) -> None:
        try:
            for _ in range(20):
                write_whole(path, content)
        except BaseException as error:
            problems.append(error)

    def read() -> None:
        while not done.is_set():
            if path.exists() and path.read_bytes() not in contents:
                problems.append("torn")

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert problems == [] and os.listdir(path.parent) == ["a"] and path.read_bytes() in contents


def test_a_file_that_is_being_written_is_not_taken_for_a_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, paused, go_on = os.replace, threading.Event(), threading.Event()

    def slow(source: Any, target: Any) -> None:
        if not paused.is_set():  # the first writer
            paused.set()
            go_on.wait(10)
        replace(source, target)

    monkeypatch.setattr(os, "replace", slow)
    first = threading.Thread(target=write_whole, args=(tmp_path / "a", b"first"))
    first.start()
    paused.wait(10)
    write_whole(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"second" and len(os.listdir(tmp_path)) == 2
    go_on.set()
    first.join()
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"first"


@needs_open_renames
def test_a_name_that_was_cleaned_away_before_it_was_locked_is_replaced_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, calls = disk._lock, []

    def unlucky(descriptor: int) -> bool | None:
        calls.append(descriptor)
        if len(calls) == 1:
            (left,) = tmp_path.iterdir()
            left.unlink()
        return lock(descriptor) if len(calls) != 2 else False

    monkeypatch.setattr(disk, "_lock", unlucky)
    write_whole(tmp_path / "a", b"1")
    assert len(calls) == 3 and (tmp_path / "a").read_bytes() == b"1"
    monkeypatch.undo()
    write_whole(tmp_path / "a", b"2")
    assert os.listdir(tmp_path) == ["a"]


@needs_kill
@pytest.mark.parametrize("name", ["a", "x" * 255, "ü" * 127])
def test_what_a_killed_process_left_is_removed_by_the_next_save(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / name, b"old")
    (tmp_path / "other").write_bytes(b"other")
    script = "os.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\nwrite_whole(sys.argv[1], b'1' * 10**6)"
    for _ in range(2):
        child = started(script, tmp_path / name)
        assert child.wait() == -signal.SIGKILL and (tmp_path / name).read_bytes() == b"old"
        child.communicate()
    assert len(os.listdir(tmp_path)) == 3, "the second one removed what the first one left"
    write_whole(tmp_path / "other", b"another file's leftovers stay")
    assert len(os.listdir(tmp_path)) == 3
    write_whole(tmp_path / name, b"new")
    assert sorted(os.listdir(tmp_path)) == sorted([name, "other"])


# --- links and pipes ------------------------------------------------------------------------------

TRAPS = {
    "a symbolic link": lambda place, victim: os.symlink(victim, place),
    "a hard link": lambda place, victim: os.link(victim, place),
    "a pipe": lambda place, victim: os.mkfifo(place),
    "a folder": lambda place, victim: os.mkdir(place),
}


@needs_pipes
@pytest.mark.parametrize("trap", TRAPS)
def test_even_a_name_that_is_guessed_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a"
    victim.write_bytes(b"precious")
    monkeypatch.setattr(os, "urandom", lambda n: bytes.fromhex("0123456789abcdef"))
    TRAPS[trap](disk._beside(path, LEFT), victim)
    with contextlib.suppress(OSError):  # one that can be removed is
        write_whole(path, b"1")
    assert victim.read_bytes() == b"precious" and not path.is_symlink()


@needs_pipes
@pytest.mark.parametrize("trap", TRAPS)
def test_traps_among_the_leftovers_do_no_harm(tmp_path: Path, trap: str) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a"
    victim.write_bytes(b"precious")
    TRAPS[trap](disk._beside(path, LEFT), victim)
    write_whole(path, b"1")
    assert victim.read_bytes() == b"precious" and path.read_bytes() == b"1"


@needs_locks
@pytest.mark.parametrize("trap", TRAPS)
def test_traps_in_the_place_of_a_lock_do_no_harm(tmp_path: Path, trap: str) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a"
    victim.write_bytes(b"precious")
    place = disk._beside(path, ".lock")
    TRAPS[trap](place, victim)
    if trap in ("a symbolic link", "a folder"):
        with pytest.raises(OSError, match=re.escape(f"{place} is in the way")), locked(path):
            pass
    else:
        with locked(path):
            write_whole(path, b"1")
        assert not os.path.lexists(place)
    assert victim.read_bytes() == b"precious"


@needs_locks
def test_a_lock_that_may_not_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=r"\.a\.\w+\.lock is in the way \(Permission denied\); remove that"):
        with locked(tmp_path / "a"):
            pass


# --- what is replaced -----------------------------------------------------------------------------


@needs_permissions
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664, 0o666, 0o400, 0o755])
@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_permissions_of_a_replaced_file_are_kept_and_new_ones_follow_the_umask(
    tmp_path: Path, mode: int, umask: int
) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "a", b"1")
        assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o666 & ~umask
        os.chmod(tmp_path / "a", mode)
        write_whole(tmp_path / "a", b"2")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == mode and (tmp_path / "a").read_bytes() == b"2"


@needs_permissions
def test_nobody_can_read_a_private_file_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").touch(0o600)
    modes = []

    def look(*_: Any) -> None:
        modes.extend(stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir())

    monkeypatch.setattr(os, "fsync", look)
    monkeypatch.setattr(os, "fchmod", look)
    write_whole(tmp_path / "a", b"1")
    assert set(modes) == {0o600} and len(modes) > 2


@needs_permissions
def test_owner_and_group_are_kept_where_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.touch()
    os.chown(path, *((1234, 4321) if os.geteuid() == 0 else (-1, os.getgroups()[-1])))
    path.chmod(0o660)
    owned = os.stat(path)
    write_whole(path, b"1")
    found = os.stat(path)
    assert (found.st_uid, found.st_gid, found.st_mode) == (owned.st_uid, owned.st_gid, owned.st_mode)

    fstat = os.fstat

    def another_group(descriptor: int) -> SimpleNamespace:
        found = fstat(descriptor)
        fields = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
        return SimpleNamespace(**{**fields, "st_gid": found.st_gid + 1})

    monkeypatch.setattr(os, "fstat", another_group)
    write_whole(path, b"2")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, "the group's rights are not for another group"


@needs_links
def test_through_a_link_the_file_behind_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "a")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "folder" / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path / "folder") == ["a"]


@needs_long_names
@pytest.mark.parametrize("name", ["x" * 249, "x" * 250, "x" * 251, "x" * 255, "ü" * 127, "漢" * 85, "🙂" * 63, "a\nb"])
def test_names_are_as_long_as_the_file_system_takes(tmp_path: Path, name: str) -> None:
    check_place(tmp_path / name)
    with locked(tmp_path / name):
        write_whole(tmp_path / name, b"1")
        write_whole(tmp_path / name, b"2")
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_bytes() == b"2"


@needs_permissions
def test_a_folder_may_be_closed_to_readers(open_folder: Path) -> None:
    (folder := open_folder / "drop").mkdir()
    folder.chmod(0o333)
    with as_nobody():
        with pytest.raises(PermissionError):
            os.listdir(folder)
        for content in (b"1", b"2"):
            check_place(folder / "a")
            with locked(folder / "a"):
                write_whole(folder / "a", content)
    assert (folder / "a").read_bytes() == b"2"
    folder.chmod(0o700)
    assert os.listdir(folder) == ["a"]


def test_a_folder_that_cannot_be_flushed_does_not_fail_a_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    write_whole(tmp_path / "a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1"


def test_without_locks_a_leftover_goes_after_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setattr(disk, "fcntl", None)
    left = disk._beside(tmp_path / "a", LEFT)
    left.write_bytes(b"half")
    write_whole(tmp_path / "a", b"1")
    assert sorted(os.listdir(tmp_path)) == sorted(["a", left.name])
    os.utime(left, (time.time() - 4000,) * 2)
    write_whole(tmp_path / "a", b"2")
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"2"
    with locked(tmp_path / "a"), locked(tmp_path / "a"):
        assert os.listdir(tmp_path) == ["a"]


def written_onnx(path: Path) -> None:
    onnx.write_whole(path, b"a graph")  # making one needs a package of the extras


FIGURE = sa.plotting.loss_curves({"loss": [1.0, 0.5]})
WRITERS: dict[str, Any] = {
    "history.csv": lambda path: sa.History(loss=[1.0, 0.5]).to_csv(path),
    "history.json": lambda path: sa.History(loss=[1.0, 0.5]).to_json(path),
    "curve.png": lambda path: sa.History(loss=[1.0, 0.5]).plot(path),
    "curve.svg": lambda path: finish(FIGURE, path),
    "curve.pdf": lambda path: finish(FIGURE, path),
    "images.idx": lambda path: sa.data.write_idx(path, np.zeros((2, 3), np.uint8)),
    "images.idx.gz": lambda path: sa.data.write_idx(path, np.zeros((2, 3), np.uint8)),
    "weights": lambda path: nn.Linear(2, 2).save_weights(path),
    "checkpoint": lambda path: sa.save_checkpoint(path, nn.Linear(2, 2)),
    "model.onnx": written_onnx,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_every_file_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, where: str
) -> None:
    for old in (b"", b"the old file"):
        if old:
            (tmp_path / name).write_bytes(old)
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
            patch.setattr(os, where, Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
            WRITERS[name](tmp_path / name)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == ([old] if old else [])
    WRITERS[name](tmp_path / name)
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_bytes() != old


@needs_pipes
@pytest.mark.parametrize("name", WRITERS)
def test_no_file_is_written_into_a_pipe(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(FileExistsError, match="this is a pipe"):
        WRITERS[name](tmp_path / name)


def test_a_picture_without_an_ending_is_a_png_and_one_of_no_format_is_refused(tmp_path: Path) -> None:
    finish(FIGURE, tmp_path / "curve")
    with pytest.raises(ValueError, match="xyz"):
        finish(FIGURE, tmp_path / "new" / "curve.xyz")
    assert os.listdir(tmp_path) == ["curve.png"] and (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


# --- before the work ------------------------------------------------------------------------------


def pipe(path: Path) -> str:
    os.mkfifo(path / "pipe")
    return "pipe"


def a_socket(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as server, tempfile.TemporaryDirectory() as short:  # socket names are short
        server.bind(f"{short}/socket")
        os.rename(f"{short}/socket", path / "socket")
    return "socket"


def link(name: str, target: str) -> Any:
    def make(path: Path) -> str:
        os.symlink(target, path / name.partition("/")[0])
        return name

    return make


PLACES: dict[str, tuple[Any, type[OSError], str]] = {
    "a pipe": (pipe, FileExistsError, "this is a pipe, a device or a socket"),
    "a socket": (a_socket, FileExistsError, "this is a pipe, a device or a socket"),
    "a device": (lambda path: "/dev/null", FileExistsError, "this is a pipe, a device or a socket"),
    "a link to a device": (link("null", "/dev/null"), FileExistsError, "this is a pipe, a device or a socket"),
    "a link to nothing": (link("a", "nothing"), FileNotFoundError, "the link .*a leads nowhere"),
    "a link to itself": (link("a", "a"), FileNotFoundError, "the link .*a leads nowhere, or round in a circle"),
    "below a link to nothing": (link("b/a", "nothing"), FileNotFoundError, "the link .*b leads nowhere"),
    "a folder": (lambda path: ".", IsADirectoryError, "this is a folder"),
    "a link to a folder": (link("a", "."), IsADirectoryError, "this is a folder"),
    "the name of a folder": (lambda path: "new/", IsADirectoryError, "this is a folder"),
    "a name too long": (lambda path: "x" * 256, OSError, "too long for the file system"),
    "a folder's name too long": (lambda path: "x" * 256 + "/a", OSError, "too long for the file system"),
    "a path too long": (lambda path: "/".join(["x" * 200] * 25), OSError, "too long for the file system"),
}
if sys.platform == "linux":  # file systems of other systems may count letters, and not bytes
    PLACES["a long name in letters of two bytes"] = (lambda path: "ü" * 128, OSError, "too long for the file system")


@needs_pipes
@pytest.mark.parametrize("case", PLACES)
def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path: Path, case: str) -> None:
    make, kind, message = PLACES[case]
    path = os.path.join(tmp_path, make(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    for call in (check_place, lambda path: write_whole(path, b"1")):
        with pytest.raises(kind, match=message):
            call(path)
    model = nn.Linear(2, 2)
    trainer = sa.Trainer(model, optim.SGD(model.parameters(), lr=0.1), loss=sa.functional.mse_loss)
    with pytest.raises(kind, match=message):
        trainer.fit((ZEROS, ZEROS), checkpoint=path)
    assert sorted(tmp_path.rglob("*")) == before and stat.S_ISCHR(os.stat("/dev/null").st_mode)


@needs_permissions
def test_another_users_file_in_a_shared_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").touch()
    tmp_path.chmod(0o1777)
    check_place(tmp_path / "a")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PermissionError, match="belongs to another user, who alone may replace it"):
        check_place(tmp_path / "a")
    check_place(tmp_path / "new")
    tmp_path.chmod(0o777)
    check_place(tmp_path / "a")


@needs_permissions
def test_a_folder_without_permission_is_told(open_folder: Path) -> None:
    (open_folder / "closed" / "below").mkdir(parents=True)
    (open_folder / "closed").chmod(0o555)
    with as_nobody():
        for name in ("a", "new/a"):
            with pytest.raises(PermissionError, match="no permission to write into .*closed; choose another place"):
                check_place(open_folder / "closed" / name)
    (open_folder / "closed").chmod(0o755)


@needs_links
def test_files_that_are_one_are_told_by_what_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "in").touch()
    os.link(tmp_path / "in", tmp_path / "hard")
    (tmp_path / "soft").symlink_to("in")
    check_apart({"a": tmp_path / "x", "b": tmp_path / "y"}, [tmp_path / "in"])
    for name in ("in", "hard", "soft"):
        with pytest.raises(ValueError, match=f"a and the input are one file, .*{name}; choose two names"):
            check_apart({"a": tmp_path / name}, [tmp_path / "in"])
    with pytest.raises(ValueError, match="b and a are one file"):
        check_apart({"a": tmp_path / "new" / "x", "b": tmp_path / "new" / ".." / "new" / "x"}, [])
    with pytest.raises(IsADirectoryError):
        check_apart({"a": tmp_path}, [])


# --- one run for one file -------------------------------------------------------------------------


@needs_locks
def test_a_second_holder_is_refused_by_name_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "run"
    with locked(path):
        (tmp_path / "link").symlink_to(path.parent)
        for same in (path, tmp_path / "link" / "run"):
            with pytest.raises(FileInUse, match="another run writes this file; .*another name") as caught, locked(same):
                pass
            assert str(path) in str(caught.value) and caught.value.errno == errno.EBUSY
        with locked(path.with_name("other")):
            write_whole(path, b"1")  # whoever holds it writes as before
    assert os.listdir(path.parent) == ["run"]
    with locked(path):
        pass
    with pytest.raises(ZeroDivisionError), locked(path):
        1 / 0  # noqa: B018
    with locked(path):
        pass
    assert os.listdir(path.parent) == ["run"]
    (tmp_path / "link").unlink()
    with locked(tmp_path / "never" / "written" / "run"):
        pass
    assert os.listdir(tmp_path) == ["new"]


@needs_locks
def test_long_names_that_begin_alike_are_two_files(tmp_path: Path) -> None:
    with locked(tmp_path / ("x" * 100 + "1")), locked(tmp_path / ("x" * 100 + "2")):
        assert len(os.listdir(tmp_path)) == 2


HOLD = "with locked(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.readline()\nprint('free', flush=True)"


@needs_locks
@pytest.mark.parametrize("killed", [True, False])
def test_another_process_is_refused_until_the_first_has_ended(tmp_path: Path, killed: bool) -> None:
    child = started(HOLD, tmp_path / "run")
    assert child.stdout.readline() == "held\n"  # type: ignore[union-attr]
    with pytest.raises(FileInUse), locked(tmp_path / "run"):
        pass
    if killed:
        child.kill()
    child.communicate("\n")
    with locked(tmp_path / "run"), pytest.raises(FileInUse), locked(tmp_path / "run"):
        pass
    assert os.listdir(tmp_path) == []


FORKS = {
    # The run ends, then begins again, while a process that was forked during it still lives.
    "the run ends first": """
with locked(sys.argv[1]):
    if not os.fork():
        os.close(1)
        time.sleep(60)
with locked(sys.argv[1]):
    print('again', flush=True)
""",
    # The forked process leaves the block before the run does.
    "the child ends first": """
with locked(sys.argv[1]):
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        try:
            with locked(sys.argv[1]): print('taken')
        except FileInUse: print('again', flush=True)
""",
    # The run is killed.
    "the run is killed": """
with locked(sys.argv[1]):
    if not os.fork():
        os.close(1)
        time.sleep(60)
    print('again', flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
""",
}


@needs_fork
@pytest.mark.parametrize("case", FORKS)
def test_a_forked_process_neither_holds_nor_ends_the_lock(tmp_path: Path, case: str) -> None:
    child = started("os.setpgrp()\n" + FORKS[case], tmp_path / "run")
    try:
        assert child.communicate()[0] == "again\n"
        with locked(tmp_path / "run"):
            pass
        assert os.listdir(tmp_path) == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


@needs_locks
def test_where_files_cannot_be_locked_nothing_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some network drives."""

    def unable(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(disk.fcntl, "flock", unable)
    with locked(tmp_path / "run"), locked(tmp_path / "run"):
        write_whole(tmp_path / "run", b"1")
    assert os.listdir(tmp_path) == ["run"]
