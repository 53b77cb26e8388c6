"""Files on a disk: written whole or not at all, checked before the work, and held by one run at a time.

A file gets a name of its own beside its target, is written, flushed to the disk, and then takes the target's name. So
a crash at any instant leaves the old file or the new one, and two writers never mix. Nobody can know the name before,
so nobody can put a link or a pipe there. A process locks what it writes; the system drops the lock when the process
ends, which tells a leftover of a killed process from the file of a living one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FilePath = str | os.PathLike[str]
_NO_TRAPS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # open no link, wait for no pipe
_held: set[int] = set()  # the descriptors of this process's locks


class FileInUse(OSError):
    """Another run writes this file; the message names it."""


# --- before the work ------------------------------------------------------------------------------


def check_place(path: FilePath) -> None:
    """Raise the OSError that `write_whole` would raise, as far as it can be known; nothing is made."""
    given = Path(path)
    for place in (given, *given.parents):
        if os.path.islink(place) and not os.path.exists(place):
            raise _error(errno.ENOENT, f"the link {place} leads nowhere, or round in a circle; remove it", given)
    if os.path.isdir(given) or os.fspath(path).endswith(("/", os.sep)):
        raise _error(errno.EISDIR, "this is a folder; expected the name of a file", given)
    if os.path.exists(given) and not os.path.isfile(given):
        raise _error(errno.EEXIST, "this is a pipe, a device or a socket; expected a file, or a new name", given)
    target = Path(os.path.realpath(given))
    folder = next(folder for folder in target.parents if os.path.exists(folder))
    if not os.path.isdir(folder):
        raise _error(errno.ENOTDIR, f"{folder} is no folder; expected one, to write into", given)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise _error(errno.EACCES, f"no permission to write into {folder}; choose another place", given)
    around = os.stat(folder)
    if around.st_mode & stat.S_ISVTX and os.path.exists(target):  # as in /tmp
        if os.geteuid() not in (0, around.st_uid, os.stat(target).st_uid):
            raise _error(errno.EPERM, "this file belongs to another user, who alone may replace it", given)
    for place in (*(folder / part for part in target.relative_to(folder).parts), _beside(target, _ending())):
        try:
            os.lstat(place)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise _error(error.errno, "this name is too long for the file system; choose another", given) from None


def check_apart(outputs: Mapping[str, FilePath], inputs: Iterable[FilePath]) -> None:
    """Check the places of several files, by what they are called to the user; ValueError where two are one file."""
    taken = [("the input", path) for path in inputs]
    for what, path in outputs.items():
        check_place(path)
        for other, place in taken:
            if _same(path, place):
                raise ValueError(f"{what} and {other} are one file, {os.fspath(path)}; choose two names")
            one, two = Path(os.path.realpath(path)), Path(os.path.realpath(place))
            if other != "the input" and (one in two.parents or two in one.parents):
                raise ValueError(f"{what} and {other} cannot both be files: one path leads through the other")
        taken.append((what, path))


def _same(path: FilePath, other: FilePath) -> bool:
    if os.path.exists(path) and os.path.exists(other):
        return os.path.samefile(path, other)
    return os.path.realpath(path) == os.path.realpath(other)


def _error(number: int, text: str, path: FilePath) -> OSError:
    """The subclass of OSError that belongs to an error number."""
    return OSError(number, text, os.fspath(path))


# --- writing --------------------------------------------------------------------------------------


def write_whole(path: FilePath, data: bytes) -> None:
    """Give `path` the content `data`, all of it or none, and durably: it survives a power cut from here on.

    A file that is replaced hands its permissions on. Folders are made, and removed again if the writing fails.
    Leftovers of processes that were killed while they wrote to `path` are removed. Raises OSError; the old file stays.
    """
    check_place(path)
    target = Path(os.path.realpath(path))  # through a link, the file behind it is meant
    try:
        with _folders(target) as made:
            _remove_leftovers(target)
            _replace(target, data)
    except OSError as error:
        old = "the file there is as it was" if os.path.exists(target) else "nothing was written"
        text = f"could not save {len(data):,} bytes ({error.strerror or error}); {old}"
        raise OSError(error.errno, text, str(target)) from error
    for folder in (target.parent, *(folder.parent for folder in made)) if os.name == "posix" else ():
        with contextlib.suppress(OSError):  # a folder may be closed to readers
            descriptor = os.open(folder, os.O_RDONLY)  # a new name itself is on the disk only after this
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _replace(target: Path, data: bytes) -> None:
    old = os.stat(target) if os.path.exists(target) else None
    file = _new_beside(target, 0o666 if old is None else stat.S_IMODE(old.st_mode) & 0o777)
    try:
        with file:
            if old is not None and fcntl is not None:
                _hand_on_permissions(file.fileno(), old)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:  # Windows renames no file that is open; elsewhere the lock is kept until the end
                file.close()
            os.replace(file.name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(file.name)
        raise


def _new_beside(target: Path, mode: int) -> Any:
    """A file that was not there before, open for writing, and locked for as long as it is open."""
    while True:
        file = open(_beside(target, _ending()), "xb", opener=lambda name, flags: os.open(name, flags, mode))
        # Before it was locked, somebody may have taken it for a leftover: then it is gone, or about to go.
        if _lock(file.fileno()) is not False and os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def _hand_on_permissions(descriptor: int, old: os.stat_result) -> None:
    with contextlib.suppress(OSError):  # some file systems have none
        for owner in (old.st_uid, -1):  # root alone may give a file away; a group of one's own will do for others
            with contextlib.suppress(OSError):
                os.fchown(descriptor, owner, old.st_gid)
        same_group = os.fstat(descriptor).st_gid == old.st_gid
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & (0o777 if same_group else 0o707))


def _remove_leftovers(target: Path) -> None:
    pattern = re.compile(re.escape(_beside(target, "").name) + r"\.[0-9a-f]{16}\.part")
    with contextlib.suppress(OSError):  # a folder may be closed to readers
        for name in filter(pattern.fullmatch, os.listdir(target.parent)):
            with contextlib.suppress(OSError):  # a leftover may be another user's
                _remove_if_left(target.with_name(name))


def _remove_if_left(file: Path) -> None:
    """Remove a file of ours unless a living process writes it; without locks, one that is an hour old is left."""
    with open(file, "r+b", opener=lambda name, flags: os.open(name, flags | _NO_TRAPS)) as opened:
        found = os.fstat(opened.fileno())
        ours = stat.S_ISREG(found.st_mode)
        held = _lock(opened.fileno())
        if ours and held:
            file.unlink()
    if ours and held is None and time.time() - found.st_mtime > 3600:  # Windows removes no file that is open
        file.unlink()


# --- holding --------------------------------------------------------------------------------------


@contextmanager
def locked(path: FilePath) -> Iterator[None]:
    """Inside, no other run gets `path`: it is given a FileInUse, in this process, in another, or through a link.

    The lock is on an empty file beside `path`, which goes at the end, and with it folders that nothing was written to.
    A killed process leaves that file, but not the lock; a forked one does not inherit it. Where files cannot be locked
    (on Windows, on some network drives), nothing is held.
    """
    if fcntl is None:
        yield
        return
    target = Path(os.path.realpath(path))
    lock = _beside(target, ".lock")
    with _folders(target):
        descriptor = _take(lock, target)
        try:
            yield
        finally:
            if descriptor in _held:  # not so in a process that was forked inside
                _held.discard(descriptor)
                with contextlib.suppress(OSError):
                    lock.unlink()  # first, so that nobody gets a lock on a file that is about to go
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)  # in all copies of the descriptor
                os.close(descriptor)


def _take(lock: Path, target: Path) -> int:
    """The descriptor of a lock that this process holds now."""
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | _NO_TRAPS, 0o666)
        except OSError as error:
            text = f"cannot lock this file, since {lock} is in the way ({error.strerror}); remove that"
            raise _error(error.errno or errno.EACCES, text, target) from None
        _held.add(descriptor)
        free = _lock(descriptor)
        with contextlib.suppress(OSError):  # its last holder may have removed it since it was opened
            if free is not False and os.path.samestat(os.fstat(descriptor), os.lstat(lock)):
                return descriptor
        _held.discard(descriptor)
        os.close(descriptor)
        if free is False:
            text = "another run writes this file; wait until it has ended, or choose another name"
            raise FileInUse(errno.EBUSY, text, str(target))


def _let_go() -> None:
    """In a forked process: its copies of the locks would outlive the run that holds them."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


# --- what they share ------------------------------------------------------------------------------


def _lock(descriptor: int) -> bool | None:
    """Lock an open file, without waiting: whether it worked, or None where files cannot be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _beside(target: Path, ending: str) -> Path:
    """A hidden name of ours for `target`, short enough where its own is as long as the file system takes."""
    digest = hashlib.sha256(os.fsencode(target.name.casefold())).hexdigest()[:8]
    return target.with_name(f".{target.name[:25]}.{digest}{ending}")


def _ending() -> str:
    return f".{os.urandom(8).hex()}.part"


@contextmanager
def _folders(target: Path) -> Iterator[list[Path]]:
    """Inside, the folders above `target` are there; those that were made, innermost first, go again if empty."""
    made = [folder for folder in target.parents if not os.path.exists(folder)]
    try:
        for folder in reversed(made):
            folder.mkdir(exist_ok=True)
        yield made
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # it holds something
                folder.rmdir()
