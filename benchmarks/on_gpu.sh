#!/usr/bin/env bash
# What a machine with a GPU says about Foredraft, in at most ten minutes. Where there is no GPU it says so and ends.
#
#   benchmarks/on_gpu.sh [MAIN.gguf DRAFT.gguf]         default: the embedded pair
#
# Beforehand: llama-cpp-python built with CUDA or Vulkan (README.md, "Ways to install the engine"), and, for the
# comparison, llama-server built alike. From the environment:
#   PYTHON        the interpreter that has Foredraft (default: .venv/bin/python, else python3)
#   LLAMA_SERVER  llama-server; without it that part is left out
#   OUT           folder of the figures (default: out/on_gpu)
#   SECONDS_LEFT  time for everything (default: 570)
#   ON_GPU_ANYWAY set: run without a GPU, too, to try the script itself
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null 2>&1 || python=python3
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}"
out=${OUT:-out/on_gpu}
end=$((SECONDS + ${SECONDS_LEFT:-570}))

gpus=$("$python" benchmarks/on_gpu.py)
code=$?
if [ "$code" -eq 3 ] && [ -z "${ON_GPU_ANYWAY:-}" ]; then
    echo "No GPU that this build of llama.cpp can use: nothing to measure."
    exit 0
elif [ "$code" -ne 0 ] && [ "$code" -ne 3 ]; then
    echo "$python cannot run Foredraft: set PYTHON to an interpreter that has it." >&2
    exit 1
fi
mkdir -p "$out" || exit 1
echo "${gpus:-no GPU}"
if [ $# -ge 2 ]; then
    main=$1 draft=$2
else
    main=$("$python" -c "from foredraft import demo; print(demo.main_path())") || exit 1
    draft=$("$python" -c "from foredraft import demo; print(demo.draft_path())") || exit 1
fi

# step NAME SECONDS COMMAND …: at most so long, and never beyond the end of the whole; what it says is kept in $out
step() {
    local name=$1 most=$2 left=$((end - SECONDS))
    shift 2
    if [ "$left" -lt 15 ]; then
        echo "== $name: left out, the time is over"
        return
    fi
    echo "== $name"
    # SIGINT ends a bench with what it has measured
    timeout --foreground --signal=INT --kill-after=10 "$((most < left ? most : left))" "$@" 2>&1 | tee "$out/$name.txt"
}

bench() {
    "$python" -m foredraft bench --model "$main" --draft "$draft" --temperature 0 "$@"
}
export -f bench
export python main draft

step draft-on-gpu 60 "$python" benchmarks/on_gpu.py "$main" "$draft"
step draft-on-cpu 60 "$python" benchmarks/on_gpu.py "$main" "$draft" cpu
if command -v nvidia-smi >/dev/null 2>&1; then
    step nvidia-smi 10 nvidia-smi --query-gpu=name,driver_version,memory.used,memory.total --format=csv
fi
step pair-draft-on-gpu 60 bash -c "bench --quick --json '$out/pair-gpu.json'"
step pair-draft-on-cpu 60 bash -c "bench --quick --draft-device cpu --json '$out/pair-cpu.json'"
if [ -n "${LLAMA_SERVER:-}" ]; then
    step against-pair 120 bash -c "bench --against '$LLAMA_SERVER' --minutes 1.8 --json '$out/against-pair.json'"
    step against-8b 180 bash -c "bench --inflate 8b --against '$LLAMA_SERVER' --minutes 2.8 --json '$out/against-8b.json'"
else
    echo "== against llama-server: left out, LLAMA_SERVER is not set"
    step pair-8b 120 bash -c "bench --inflate 8b --minutes 1.8 --json '$out/pair-8b.json'"
fi
echo "The figures are in $out."
