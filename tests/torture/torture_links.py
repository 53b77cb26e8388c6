"""Somebody plants links and pipes in the folder, as fast as possible, while checkpoints are saved there.

As root, the attacker is another user in a folder like /tmp. Under every name that appears, and under names like ours,
the attacker puts symbolic links and hard links to files that are not to be changed, and pipes, which hang whoever opens
them. No save may hang or touch these files; a save works, or gives an OSError.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import stat
import tempfile
from pathlib import Path

import common
import numpy as np

import scratchae as sa
from scratchae import nn
from scratchae.files import disk

N = common.count(1000)


def attack(folder: Path, victims: list[Path], told: int) -> None:
    if os.geteuid() == 0:
        os.setuid(65534)
    random.seed(1)
    path = folder / "run.safetensors"
    while True:
        seen = [folder / name for name in os.listdir(folder)] if random.random() < 0.5 else []
        known = [disk._beside(path, ending) for ending in (".lock", f".{random.randbytes(8).hex()}.part")]
        for place in [*seen, *known, folder / ".run.safetensors.tmp"]:
            with contextlib.suppress(OSError):
                [os.symlink, os.link, lambda _, p: os.mkfifo(p)][random.randrange(3)](random.choice(victims), place)
            if place not in seen and random.random() < 0.5:
                with contextlib.suppress(OSError):
                    place.unlink()
        with contextlib.suppress(OSError):
            os.write(told, b".")


def main() -> None:
    problems: list[str] = []
    saved = failed = held = 0
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        os.chmod(name, 0o711)
        folder, path = Path(name) / "shared", Path(name) / "shared" / "run.safetensors"
        folder.mkdir()
        folder.chmod(0o1777)
        victims = [Path(name) / f"victim {i}" for i in range(3)]
        for victim in victims:
            victim.write_bytes(b"precious")
        out, told = os.pipe2(os.O_NONBLOCK)
        if not (attacker := os.fork()):
            attack(folder, victims, told)
        model = nn.Linear(50, 50)
        signal.signal(signal.SIGALRM, lambda *_: (print("it hangs"), os._exit(1)))
        for i in range(N):
            signal.alarm(20)
            for p in model.parameters():
                p.data[...] = i
            try:
                with disk.locked(path):
                    held += 1
                    sa.save_checkpoint(path, model, version=i)
                saved += 1
            except OSError:
                failed += 1
                with contextlib.suppress(OSError):
                    sa.save_checkpoint(path, model, version=i)
            if not stat.S_ISREG(os.lstat(path).st_mode):
                problems.append(f"save {i}: no file is there any more")
            version = sa.load_checkpoint(path, model)["version"]
            if any((p.data != np.float32(version)).any() for p in model.parameters()):
                problems.append(f"save {i}: torn")
            if any(victim.read_bytes() != b"precious" for victim in victims):
                problems.append(f"save {i}: a file of others was changed")
                break
        signal.alarm(0)
        os.kill(attacker, signal.SIGKILL)
        os.waitpid(attacker, 0)
        os.close(out)
        common.verdict(problems, f"{N} saves among links and pipes: {saved} under a lock, {failed} times its name was "
                                 "taken, which was told; nothing hung, no other file was changed")  # fmt: skip


main()
