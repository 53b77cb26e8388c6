"""Several processes that train one model; see processes.py."""

from scratchae.distributed.processes import World, init, world

__all__ = ["World", "init", "world"]
