"""Settings of a training in which fairseq's own defaults go wrong."""

import importlib.util
import os
from argparse import Namespace

import torch


def configure(args: Namespace) -> None:
    """Change the parsed options of ``fairseq-train``.

    Batches are drawn anew each epoch: fairseq would otherwise keep those of the epoch it
    started in, so that a resumed training saw others than an uninterrupted one.

    ``--bf16`` is not only for TPUs, which fairseq takes it for.

    Under torchrun the number of processes is torchrun's. fairseq takes that of the GPUs,
    and with one or none every process would train alone and overwrite the others' files. On
    CPUs it also fails to find the rank, and to set up PyTorch's DistributedDataParallel:
    there gloo and ``legacy_ddp`` do the same.
    """
    args.update_epoch_batch_itr = True
    if importlib.util.find_spec("torch_xla") is None:
        args.tpu = False
    processes = int(os.environ.get("WORLD_SIZE", 1))
    if processes == 1 or "RANK" not in os.environ:
        return
    args.distributed_world_size = processes
    if args.cpu or not torch.cuda.is_available():
        args.distributed_rank = int(os.environ["RANK"])
        args.distributed_init_method = "env://"
        args.distributed_no_spawn = True
        args.distributed_backend = "gloo"
        if args.ddp_backend in ("c10d", "pytorch_ddp"):
            args.ddp_backend = "legacy_ddp"
