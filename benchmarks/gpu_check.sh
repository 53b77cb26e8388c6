#!/usr/bin/env bash
# Everything that only a machine with a GPU can tell: the tests on it, then the benchmarks, in one command.
#
#     bash benchmarks/gpu_check.sh              an hour or more
#     bash benchmarks/gpu_check.sh --quick      seven minutes at most, whatever hangs; nothing is installed
#
# PYTHON=/its/python names the Python of an environment, which is used as it is. It must have CuPy, pytest, hypothesis
# and the package's own requirements, and should have PyTorch. Without PYTHON, --quick takes python3, and the long check
# makes a virtual environment in a temporary folder.
#
# What is found goes to $OUT (default: outputs/gpu): log.txt, the tables of the benchmarks, and summary.md for
# benchmarks/README.md. A part that fails or does not end does not keep the later ones from running; the exit status is
# 1 if any did.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=""
case "${1:-}" in
    "") ;;
    --quick) quick=yes ;;
    *) echo "usage: bash benchmarks/gpu_check.sh [--quick]" >&2; exit 2 ;;
esac
out=${OUT:-outputs/gpu}
mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -f "$out"/{log.txt,summary.md,gpu{,_tf32}.{json,md,png}} # an earlier run's must not pass for this one's
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'kill "$running" 2>/dev/null; exit 130' INT TERM # the part that runs is in a group of its own
running=""
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

# --- an environment -------------------------------------------------------------------------------

if [ -n "${PYTHON:-$quick}" ]; then
    python=$(command -v "${PYTHON:-python3}") || { echo "PYTHON=${PYTHON:-python3} cannot be run" >&2; exit 2; }
else
    # CUDA's major version as the driver tells it, without anything installed
    cuda=$(python3 - 2>/dev/null <<'END'
import ctypes
version = ctypes.c_int()
ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
print("cuda13" if version.value >= 13000 else "cuda12")
END
    ) || { echo "no NVIDIA driver was found (libcuda.so.1)" >&2; exit 1; }
    python3 -m venv "$work/venv"
    python=$work/venv/bin/python
    needed=(-e ".[$cuda,test]" nvidia-cuda-nvrtc)
    # PyTorch pins some of CUDA's libraries; if its pins and CuPy's exclude each other, ours goes first.
    if ! "$python" -m pip install -q "${needed[@]}" torch; then
        "$python" -m pip install -q "${needed[@]}"
        "$python" -m pip install -q torch || echo "PyTorch could not be installed; ours is measured alone"
    fi
fi

# --- the parts ------------------------------------------------------------------------------------

rows=()
failed=0
part() { # name, seconds at most, command
    local name=$1 limit=$2 status=0 start=$SECONDS outcome=passed last
    shift 2
    echo "== $name: $*" | tee -a "$out/log.txt"
    # After the limit, the command gets Ctrl-C, so that pytest reports what failed, and `tee -i` writes the report down.
    # Five seconds later, the whole group is killed, tee too: a process that cannot be killed keeps no pipe open here.
    set -m # a group of its own, in which Ctrl-C is not ignored
    timeout --signal=INT --kill-after=5 "$limit" bash -c 'set -o pipefail; "${@:2}" 2>&1 | tee -ai "$0" "$1"' \
        "$out/log.txt" "$work/$name.txt" "$@" &
    running=$!
    set +m
    wait "$running" || status=$?
    running=""
    if [ $((SECONDS - start)) -ge "$limit" ]; then
        failed=1 outcome="timed out"
    elif [ "$status" -ne 0 ]; then
        failed=1 outcome="failed ($status)"
    fi
    last=$(grep -E '[0-9]+ (passed|failed|error|deselected)|^failed: |^error: ' "$work/$name.txt" | tail -n 1 || true)
    [ -n "$last" ] || last=$(grep . "$work/$name.txt" | tail -n 1 || true)
    rows+=("| $name | $outcome | $((SECONDS - start)) s of $limit | ${last//|/\\|} |")
}

nvidia=(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader)
timeout --signal=KILL 5 "${nvidia[@]}" >"$work/gpu" 2>/dev/null || echo "a GPU" >"$work/gpu"
gpu=$(head -n 1 "$work/gpu")
echo "$gpu, $(date +%F)" | tee "$out/log.txt"

tests=("$python" -m pytest -ra --tb=short -p no:cacheprovider -o faulthandler_timeout=60)
compare=("$python" benchmarks/compare.py --device gpu --out "$out")
if [ -n "$quick" ]; then # 45 + 85 + 90 + 170 seconds, and at most 5 after each, and 5 for nvidia-smi: 415
    part smoke 45 "$python" benchmarks/gpu_smoke.py
    part tests 85 "${tests[@]}" -m gpu
    part device 90 "${tests[@]}" -m gpu tests/gpu_with_device.py
    part compare 170 "${compare[@]}" --quick --rounds 1
else
    part smoke 120 "$python" benchmarks/gpu_smoke.py
    part suite 3600 "${tests[@]}"
    part device 1200 "${tests[@]}" -m gpu tests/gpu_with_device.py
    part compiler 300 "${tests[@]}" tests/nvrtc_with_extras.py
    part compare 7200 "${compare[@]}" --rounds 5
    part compare_tf32 7200 "${compare[@]}" --tf32 --rounds 5
fi

# --- what was found -------------------------------------------------------------------------------

{
    echo "### $gpu, $(date +%F)"
    echo
    echo "| part | outcome | time | its last word |"
    echo "|---|---|---|---|"
    printf '%s\n' "${rows[@]}"
    for table in "$out"/gpu.md "$out"/gpu_tf32.md; do
        if [ -f "$table" ]; then
            echo
            cat "$table"
        fi
    done
} >"$out/summary.md"
echo
cat "$out/summary.md"
echo "written: $out/summary.md"
exit "$failed"
