"""Run the tutorials one after the other, and keep their results.

    python tutorials/run_all.py --data full              all of them: hours
    python tutorials/run_all.py --data full 04 09        some

After each script, the targets, the results and the minutes go into tutorials/results.json. Results of other scripts
stay. Then the table in tutorials/README.md is written from this file. With --data full, the script's picture answer.png
goes into docs/tutorials.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
RESULTS, README, PICTURES = HERE / "results.json", HERE / "README.md", HERE.parent / "docs" / "tutorials"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["sample", "full"], default="full")
    parser.add_argument("--out", type=Path, default=Path("outputs"), help="folder for the pictures")
    parser.add_argument("--resume", action="store_true", help="continue interrupted long runs")
    parser.add_argument("which", nargs="*", metavar="NN", help="numbers of scripts, such as 04 or 0A (default: all)")
    args = parser.parse_args()
    scripts = in_order(HERE.glob("[0-9]*_*.py"))
    if unknown := set(args.which) - set(scripts):
        parser.error(f"no tutorial {', '.join(sorted(unknown))}; there are {', '.join(scripts)}")
    missed = False
    for number, script in scripts.items():
        if not args.which or number in args.which:
            print(f"\n=== {script.name}", flush=True)
            found = run(script, args.data, args.out, args.resume)
            missed |= not found["reached"]
            keep(script.stem, found)
            README.write_text(with_table(README.read_text()))
            if args.data == "full":
                shutil.copyfile(args.out / script.stem / "answer.png", PICTURES / f"{script.stem}.png")
    sys.exit(missed)


def in_order(scripts: Iterable[Path]) -> dict[str, Path]:
    """The scripts by their numbers, in the order of tutorials/README.md."""
    text = README.read_text()
    return {s.stem.split("_")[0]: s for s in sorted(scripts, key=lambda s: (text.find(f"]({s.name})"), s.name))}


def run(script: Path, data: str, out: Path, resume: bool) -> dict:
    """Run a tutorial in a process of its own. Return the targets and results."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        text = script.read_text()
        takes_data, resumes = "uses_data=False" not in text, "resumes=True" in text
        command = [sys.executable, str(script), "--out", str(out), *(["--data", data] if takes_data else []),
                   *(["--resume"] if resumes and resume else [])]  # fmt: skip
        start = time.monotonic()
        status = subprocess.run(command, env={**os.environ, "SCRATCHAE_RESULTS": str(path)}).returncode
        minutes = (time.monotonic() - start) / 60
        if not path.exists():
            sys.exit(f"{script.name} ended with exit status {status} before its results")
        targets = json.loads(path.read_text())
    return {
        "data": data,
        "date": datetime.date.today().isoformat(),
        "minutes": round(minutes, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "reached": status == 0,
        "targets": targets,
    }


def keep(name: str, found: dict) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[name] = found
    order = in_order(Path(f"{name}.py") for name in results).values()
    RESULTS.write_text(json.dumps({script.stem: results[script.stem] for script in order}, indent=1) + "\n")


def with_table(text: str) -> str:
    """`text` with a new table between the two marks."""
    lines = ["| script | what | target | result | minutes |", "|---|---|---|---|---|"]
    for name, found in json.loads(RESULTS.read_text()).items():
        for i, (what, r) in enumerate(found["targets"].items()):
            target = f"{'at least' if r['at_least'] else 'at most'} {r['target']:.5g}"
            result = f"{r['result']:.5g}" + ("" if r["reached"] else " (missed)")
            what = what.replace("|", "\\|")
            first = (name, f"{found['minutes']:g}") if i == 0 else ("", "")
            lines.append(f"| {first[0]} | {what} | {target} | {result} | {first[1]} |")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    main()
