"""Files on a disk: written as a whole or not at all, checked before the work, and locked by one run at a time.

The new file first has a temporary name beside the target. The file is written, flushed to the disk, and then renamed to
the target. So a crash at any instant leaves the old file or the new file, and two writers never mix. The temporary name
is random, so that another program cannot put a link or a pipe there. A process locks the file while writing. The system
drops the lock when the process ends. So a file without a lock is a leftover of a killed process.
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
    """Another run writes this file. The message names the file."""


# --- before the work ------------------------------------------------------------------------------


def check_place(path: FilePath) -> None:
    """Raise the OSError that `write_whole` would raise, as far as it can be foreseen. No file is made."""
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
    """Check the places of several outputs, by the names in error texts. ValueError where two paths are one file."""
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
    """Write `data` to `path`, all bytes or none. After the return, the file survives a power cut.

    The new file gets the permissions of the old file. Folders are made, and removed again if the writing fails.
    Leftovers of killed processes that wrote to `path` are removed. Raises OSError; the old file then stays.
    """
    check_place(path)
    target = Path(os.path.realpath(path))  # a link stays, and the file behind the link is replaced
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
            descriptor = os.open(folder, os.O_RDONLY)  # only then is the new name on the disk
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
            if fcntl is None:  # Windows renames no open file; other systems keep the lock until the end
                file.close()
            os.replace(file.name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(file.name)
        raise


def _new_beside(target: Path, mode: int) -> Any:
    """A new file, open for writing, and locked while open."""
    while True:
        file = open(_beside(target, _ending()), "xb", opener=lambda name, flags: os.open(name, flags, mode))
        # Before the lock, another process may have removed the file as a leftover, or may be about to.
        if _lock(file.fileno()) is not False and os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def _hand_on_permissions(descriptor: int, old: os.stat_result) -> None:
    with contextlib.suppress(OSError):  # some file systems have no permissions
        for owner in (old.st_uid, -1):  # only root may change the owner; a user may set one of the user's groups
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
    """Remove a temporary file unless a process writes it. Without locks, only a file older than an hour is removed."""
    with open(file, "r+b", opener=lambda name, flags: os.open(name, flags | _NO_TRAPS)) as opened:
        found = os.fstat(opened.fileno())
        ours = stat.S_ISREG(found.st_mode)
        held = _lock(opened.fileno())
        if ours and held:
            file.unlink()
    if ours and held is None and time.time() - found.st_mtime > 3600:  # Windows removes no open file
        file.unlink()


# --- holding --------------------------------------------------------------------------------------


@contextmanager
def locked(path: FilePath) -> Iterator[None]:
    """Inside, a second `locked(path)` raises FileInUse: in this process, in another process, or through a link.

    The lock is on an empty file beside `path`. At the end the empty file is removed, and so are new folders that are
    still empty. A killed process leaves the empty file, but not the lock. A forked process does not inherit the lock.
    Where files cannot be locked (on Windows, on some network drives), there is no lock.
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
                    lock.unlink()  # first, so that no process locks a file that is about to be removed
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)  # in all copies of the descriptor
                os.close(descriptor)


def _take(lock: Path, target: Path) -> int:
    """Take the lock, and return its descriptor."""
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | _NO_TRAPS, 0o666)
        except OSError as error:
            text = f"cannot lock this file, since {lock} is in the way ({error.strerror}); remove that"
            raise _error(error.errno or errno.EACCES, text, target) from None
        _held.add(descriptor)
        free = _lock(descriptor)
        with contextlib.suppress(OSError):  # the last holder may have removed the file meanwhile
            if free is not False and os.path.samestat(os.fstat(descriptor), os.lstat(lock)):
                return descriptor
        _held.discard(descriptor)
        os.close(descriptor)
        if free is False:
            text = "another run writes this file; wait until it has ended, or choose another name"
            raise FileInUse(errno.EBUSY, text, str(target))


def _let_go() -> None:
    """In a forked process: close the copies of the locks, which would outlive the run that holds the locks."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


# --- helpers --------------------------------------------------------------------------------------


def _lock(descriptor: int) -> bool | None:
    """Lock an open file without waiting. Returns whether the lock was free, or None where files cannot be locked."""
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
    """A hidden name for a file beside `target`. The name is short, even if the target's name has the longest length."""
    digest = hashlib.sha256(os.fsencode(target.name.casefold())).hexdigest()[:8]
    return target.with_name(f".{target.name[:25]}.{digest}{ending}")


def _ending() -> str:
    return f".{os.urandom(8).hex()}.part"


@contextmanager
def _folders(target: Path) -> Iterator[list[Path]]:
    """Inside, the folders above `target` exist. New folders, innermost first, are removed at the end if empty."""
    made = [folder for folder in target.parents if not os.path.exists(folder)]
    try:
        for folder in reversed(made):
            folder.mkdir(exist_ok=True)
        yield made
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # the folder is not empty
                folder.rmdir()
