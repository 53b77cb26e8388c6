"""Marks of tests for which a platform lacks something. The reasons say what is missing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

WINDOWS = sys.platform == "win32"
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked on Windows")
needs_locks = pytest.mark.skipif(WINDOWS, reason="scratchae locks no files on Windows")
needs_permissions = pytest.mark.skipif(WINDOWS, reason="Windows has other permissions, and no users by number")
needs_links = pytest.mark.skipif(WINDOWS, reason="links need a right of their own on Windows")
needs_pipes = pytest.mark.skipif(WINDOWS, reason="folders on Windows hold no pipes, sockets and devices")
needs_kill = pytest.mark.skipif(WINDOWS, reason="Windows ends a process without SIGKILL and its status")
needs_signals = pytest.mark.skipif(WINDOWS, reason="Windows sends a process no signal that Python handles")
needs_open_renames = pytest.mark.skipif(WINDOWS, reason="Windows renames and removes no open file")
needs_long_names = pytest.mark.skipif(WINDOWS, reason="names on Windows are shorter, and hold fewer characters")
needs_broken_pipes = pytest.mark.skipif(WINDOWS, reason="Windows has another error for a pipe without a reader")
needs_file_limit = pytest.mark.skipif(WINDOWS, reason="Windows sets no limit on the size of files")
needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a device of Linux")
needs_resident_size = pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts KiB on Linux alone")
