"""Measure each tutorial with --quick, for the tables of docs/course/paths.md.

    python docs/course/time_quick.py            all tutorials, some minutes
    python docs/course/time_quick.py 01 09      some

The seconds go to quick_seconds.json beside this file.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
KEPT, SCRIPTS = HERE / "quick_seconds.json", HERE.parents[1] / "tutorials"

seconds = json.loads(KEPT.read_text()) if KEPT.exists() else {}
scripts = sorted(SCRIPTS.glob("[0-9]*_*.py"))
for script in scripts:
    if not sys.argv[1:] or script.stem.split("_")[0] in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            start = time.monotonic()
            command = [sys.executable, str(script), "--quick", "--out", folder]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds[script.stem] = round(time.monotonic() - start, 1)
        print(f"{script.stem}: {seconds[script.stem]:.0f} s", flush=True)
        kept = {name.stem: seconds[name.stem] for name in scripts if name.stem in seconds}
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
