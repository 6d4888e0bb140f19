#!/usr/bin/env bash
# From a machine with torch for CUDA, Triton and no network to all results for a GPU, in one command.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: benchmarks/gpu.sh [OPTION...] PREPARED OUT

Installs what the machine lacks from PREPARED, the folder that gpu_prepare.py makes, checks each
kernel on the GPU, and measures. OUT gets a file in JSON for each step as soon as it ends, its log,
and summary.json. Run again with the same OUT, it does what has not been done.

options of gpu.py:
  --limit SECONDS    of everything (default: 600): steps that would not fit are left for a next run
  --only STEP,STEP   these alone; --list shows them
  --miniature        on a CPU, all of it tiny: does it run?

environment:
  PYTHON               with torch (default: python3)
  GPU_SITE             where missing packages go (default: build/gpu/site of this repository)
  MOE_PEER_SCATTERMOE  a checkout of github.com/shawntan/scattermoe, to compare the layer with
EOF
}

case ${1:--h} in
    -h | --help) usage; exit 0 ;;
esac
(($# > 1)) || { usage >&2; exit 2; }
BEGAN=$(date +%s)
HERE=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
ROOT=$(dirname "$HERE")
PYTHON=${PYTHON:-python3}
SITE=${GPU_SITE:-$ROOT/build/gpu/site}
PREPARED=${*: -2:1} # the words before are options
"$PYTHON" "$HERE/gpu_install.py" "$PREPARED" "$SITE"
export PYTHONPATH=$ROOT:$SITE${PYTHONPATH:+:$PYTHONPATH}
exec "$PYTHON" "$HERE/gpu.py" --began "$BEGAN" "$@"
