#!/usr/bin/env bash
# Everything that only a machine with a GPU can tell: the tests on it, then the benchmarks, in one command.
#
#     bash benchmarks/gpu_check.sh              an hour or more
#     bash benchmarks/gpu_check.sh --quick      about nine minutes at most, installation left out
#
# Makes a virtual environment in a temporary folder. With PYTHON=/its/python in the environment, that one is used
# instead, as it is; it must have CuPy, pytest, hypothesis and the package's own requirements, and should have PyTorch.
# What is found goes to $OUT (default: outputs/gpu), with a summary.md for benchmarks/README.md. A part that fails does
# not keep the later ones from running; the exit status is 1 if any did.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=""
case "${1:-}" in
    "") limits=(60 3600 1200 300 7200) ;;
    --quick) quick=yes limits=(40 250 60 30 160) ;; # seconds: GPU, suite, device, compiler, benchmarks
    *) echo "usage: bash benchmarks/gpu_check.sh [--quick]" >&2; exit 2 ;;
esac
out=${OUT:-outputs/gpu}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

# --- an environment -------------------------------------------------------------------------------

if [ -n "${PYTHON:-}" ]; then
    python=$(command -v "$PYTHON")
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
    echo "== $name: $*"
    timeout --kill-after=10 "$limit" "$@" 2>&1 | tee "$out/$name.txt" || status=$?
    last=$(grep -E '[0-9]+ (passed|failed|error)|^failed: |^error: ' "$out/$name.txt" | tail -n 1 || true)
    [ "$status" -ne 124 ] || last="stopped after $limit s; $last"
    [ "$status" -eq 0 ] || failed=1 outcome="failed ($status)"
    rows+=("| $name | $outcome | $((SECONDS - start)) s | $last |")
}

test_options=(-ra --tb=short -p no:cacheprovider)
part gpu "${limits[0]}" "$python" benchmarks/gpu.py --child device scratchae 0
part suite "${limits[1]}" "$python" -m pytest "${test_options[@]}"
part device "${limits[2]}" "$python" -m pytest "${test_options[@]}" tests/gpu_with_device.py
part compiler "${limits[3]}" "$python" -m pytest "${test_options[@]}" tests/nvrtc_with_extras.py
rm -f "$out"/gpu.{json,md,png} "$out"/gpu_tf32.{json,md,png} # an earlier run's must not pass for this one's
if [ -n "$quick" ]; then
    part compare "${limits[4]}" "$python" benchmarks/compare.py --device gpu --quick --rounds 1 --out "$out"
else
    part compare "${limits[4]}" "$python" benchmarks/compare.py --device gpu --rounds 5 --out "$out"
    part compare_tf32 "${limits[4]}" "$python" benchmarks/compare.py --device gpu --tf32 --rounds 5 --out "$out"
fi

# --- what was found -------------------------------------------------------------------------------

gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1 || echo "a GPU")
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
