"""Settings of a training in which fairseq's own defaults go wrong."""

import importlib.util
import logging
import os
from argparse import Namespace
from contextlib import suppress

import torch

from nmt_moe.checkpoint.record import Checkpoint
from nmt_moe.common.errors import ErrorOnEveryRank, UserError
from nmt_moe.fairseq_fixes import command_line as parsers
from nmt_moe.fairseq_fixes.start_checks import restored_file
from nmt_moe.moe.experts import draw_experts

_logger = logging.getLogger(__name__)


def configure(args: Namespace) -> None:
    """Change the parsed options of ``fairseq-train``.

    Batches are drawn anew each epoch: fairseq would otherwise keep those of the epoch it
    started in, so that a resumed training saw others than an uninterrupted one.

    A training set is taken once: with several, fairseq takes the first -1 times, and fails.

    Without iopath, fairseq ends before it trains, as if all were well, where checkpoints shall be
    written while it goes on.

    ``--bf16`` is not only for TPUs, which fairseq takes it for; and ``--fp16`` does not flatten the
    parameters into one vector where fairseq could not do it, on a CPU, or where ``moe_adam`` would
    not find the experts in it.

    Under torchrun the number of processes is torchrun's. fairseq takes that of the GPUs,
    and with one or none every process would train alone and overwrite the others' files. On
    CPUs it also fails to find the rank, and to set up PyTorch's DistributedDataParallel:
    there gloo and ``legacy_ddp`` do the same.

    Experts are shared by the processes only where the rest of the training can handle it, and all
    processes go through them equally often: those that generate wait for each other in vain.
    For ``--moe-sharded-checkpoint``, fairseq's own files of each process are switched on.

    Experts are drawn on the GPU, in bfloat16, where ``--memory-efficient-bf16`` has no weights in
    float32: fairseq builds a model on the CPU.

    A tail of an adaptive softmax may get no gradient in a batch: PyTorch's DistributedDataParallel
    would wait for it, and fairseq's ``legacy_ddp`` does not.
    """
    args.update_epoch_batch_itr = True
    if getattr(args, "upsample_primary", 1) == -1:
        args.upsample_primary = 1
    if args.write_checkpoints_asynchronously and importlib.util.find_spec("iopath") is None:
        raise ErrorOnEveryRank("--write-checkpoints-asynchronously needs: pip install iopath")
    if importlib.util.find_spec("torch_xla") is None:
        args.tpu = False
    flattened = getattr(args, "fp16", False) and not args.memory_efficient_fp16
    if flattened and (_on_cpu(args) or args.optimizer == "moe_adam"):
        args.fp16_no_flatten_grads = True
    if args.criterion == "adaptive_loss" and args.ddp_backend in ("c10d", "pytorch_ddp"):
        args.ddp_backend = "legacy_ddp"
    on_gpu = getattr(args, "memory_efficient_bf16", False) and not _on_cpu(args)
    draw_experts(*(("cuda", torch.bfloat16) if on_gpu else ()))
    _share_experts(args)
    _keep_batches(args)
    number = processes()
    if number == 1:
        return
    args.distributed_world_size = number
    if _on_cpu(args):
        args.distributed_rank = int(os.environ["RANK"])
        args.distributed_init_method = "env://"
        args.distributed_no_spawn = True
        args.distributed_backend = "gloo"
        if args.ddp_backend in ("c10d", "pytorch_ddp"):
            args.ddp_backend = "legacy_ddp"


def _on_cpu(args: Namespace) -> bool:
    return args.cpu or not torch.cuda.is_available()


def _share_experts(args: Namespace) -> None:
    """Let each process have all experts, where that is what the other options need."""
    size = getattr(args, "moe_expert_parallel_size", 0)
    parts = getattr(args, "moe_sharded_checkpoint", False)
    args.base_layers = int(parts)
    backends = ("c10d", "pytorch_ddp", "no_c10d", "legacy_ddp")
    needed = {
        "--optimizer moe_adam": args.optimizer == "moe_adam",
        "--ddp-backend pytorch_ddp or legacy_ddp": args.ddp_backend in backends,
        "no --store-ema": not getattr(args, "store_ema", False),
        # Its loss scale is each process' own, and experts may overflow in one of them alone.
        "no --amp": not getattr(args, "amp", False),
        "no --use-bmuf": not getattr(args, "use_bmuf", False),  # it would average different experts
        **{f"no {option}": False for option in _generating(args)},
        "a checkpoint with the optimizer's state": parts or not args.no_save_optimizer_state,
    }
    missing = [what for what, there in needed.items() if not there]
    if missing and size > 1:
        raise ErrorOnEveryRank(
            f"--moe-expert-parallel-size {size} needs {missing[0]}; "
            "or give each process all experts (1)"
        )
    if missing and parts:
        raise ErrorOnEveryRank(f"--moe-sharded-checkpoint needs {missing[0]}")
    if missing:
        args.moe_expert_parallel_size = 1
        if args.optimizer == "moe_adam" and processes() > 1 and os.environ["RANK"] == "0":
            _logger.warning(f"each process holds all experts: sharing them needs {missing[0]}")


def _keep_batches(args: Namespace) -> None:
    """Let a training go on with the batches it was begun with: fairseq counts them in an epoch.

    Those that were begun before the plugin had its own default have fairseq's.
    """
    if any(map(parsers.given, parsers.MULTIPLE)) or getattr(args, "reset_dataloader", True):
        return
    with suppress(UserError, OSError, KeyError, TypeError):  # said where it is restored
        dataset = Checkpoint.read(restored_file(args), checked=True).options("dataset")
        args.required_batch_size_multiple = dataset["required_batch_size_multiple"]


def _generating(args: Namespace) -> list[str]:
    """The options with which a training translates: one process needs more steps than another.

    fairseq's tasks name those of the validation --eval-bleu, --eval-wer and so on.
    """
    found = [name for name, value in vars(args).items() if name[:5] == "eval_" and value is True]
    options = ["--" + name.replace("_", "-") for name in found]
    if getattr(args, "task", "") == "online_backtranslation":
        options.append(f"--task {args.task}")
    return options


def processes() -> int:
    """Those of torchrun."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1
