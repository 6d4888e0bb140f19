#!/usr/bin/env bash
# Run a command of fairseq in several processes, on one machine or on several.
set -euo pipefail

usage() {
    cat <<'EOF2'
usage: [GPUS=n] [NODES=n NODE_RANK=i MASTER_ADDR=host] recipes/launch.sh COMMAND [OPTION...]

Runs COMMAND, such as fairseq-train, in GPUS processes on each of NODES machines, through
torchrun. On several machines, start it on each with the same MASTER_ADDR and a NODE_RANK of
its own; recipes/launch.sbatch does that under SLURM. If a process dies, all of them end.
Stopped by SIGTERM, a training saves and ends with code 75: the same command goes on.

environment:
  GPUS         processes on this machine (default: its GPUs; without any, 2 on its CPUs)
  NODES        machines (default: 1)
  NODE_RANK    the number of this machine, from 0 (with NODES above 1)
  MASTER_ADDR  name or address of machine 0 (with NODES above 1)
  MASTER_PORT  a free port there (default: 29500)
EOF2
}

die() {
    echo "launch.sh: $*" >&2
    exit 1
}

# whole NAME VALUE LEAST
whole() {
    [[ $2 =~ ^[0-9]+$ && $2 -ge $3 ]] || die "$1=$2: give a whole number, at least $3"
}

case ${1-} in
    '' | -h | --help)
        usage
        exit 0
        ;;
    -*) die "unknown option '$1': see launch.sh --help" ;;
esac

ROOT=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
PATH=$ROOT/.venv/bin:$PATH
export PYTHONSAFEPATH=1 # or modules of the folder where the user is would stand in for others
program=$(type -P "$1") || die "no command '$1': is the environment installed (make setup)?"
shift
if [[ -z ${GPUS-} ]]; then
    GPUS=$(python -c 'import torch; print(torch.cuda.device_count() or 2)')
fi
NODES=${NODES:-1}
whole GPUS "$GPUS" 1
whole NODES "$NODES" 1

where=(--standalone)
if ((NODES > 1)); then
    [[ -n ${NODE_RANK-} && -n ${MASTER_ADDR-} ]] ||
        die "NODES=$NODES needs NODE_RANK and MASTER_ADDR: see launch.sh --help"
    whole NODE_RANK "$NODE_RANK" 0
    where=(--nnodes "$NODES" --node_rank "$NODE_RANK"
        --master_addr "$MASTER_ADDR" --master_port "${MASTER_PORT:-29500}")
fi
# Several processes with as many threads as there are cores each are slower than one.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec python "$ROOT/nmt_moe/runs/torchrun.py" "${where[@]}" --nproc_per_node "$GPUS" "$program" "$@"
