"""What a training is asked for and cannot do, refused before its first update.

fairseq would notice it after the first epoch, and then save nothing, or would not notice it.
"""

import difflib
import json
import logging
import os
import tempfile
from argparse import Namespace
from dataclasses import fields
from typing import Any

import torch
from fairseq.data import data_utils
from fairseq.dataclass.configs import GenerationConfig
from fairseq.file_io import PathManager
from fairseq.logging import metrics
from fairseq.registry import REGISTRIES
from fairseq.utils import split_paths

from nmt_moe.common import logged
from nmt_moe.common.errors import ErrorOnEveryRank, UserError, suggestion
from nmt_moe.common.ranges import integers, name_of
from nmt_moe.kernels.cpu import product

_LOGGER = logging.getLogger(__name__)
_HIGHER_IS_BETTER = {"bleu": True, "accuracy": True} | dict.fromkeys(
    (logged.LOSS, logged.CROSS_ENTROPY, logged.PERPLEXITY), False
)
_SPEED = {logged.PIECES_PER_SECOND, logged.PIECES_PER_BATCH, "bsz"}


def check_options(args: Namespace) -> None:
    """Raise a :class:`UserError` for the first option that does not fit, of all of a training's.

    What needs neither data nor model: the rest is looked at by :func:`check_restored` and
    :func:`check_metric`.
    """
    product.usable()  # or the environment's mistake ends the first update
    adaptive = bool(getattr(args, "adaptive_softmax_cutoff", ""))
    if adaptive != (args.criterion == "adaptive_loss"):
        raise UserError(
            f"--adaptive-softmax-cutoff needs --criterion adaptive_loss, not {args.criterion}"
            if adaptive
            else "--criterion adaptive_loss needs an adaptive softmax: give its "
            "--adaptive-softmax-cutoff, such as 10000,50000, or another criterion"
        )
    _complete_pair(args)
    _check_alignments(args)
    _check_precision(args)
    if args.disable_validation:
        looks_at_it = {
            "--patience": args.patience > 0,
            "--keep-best-checkpoints": args.keep_best_checkpoints > 0,
            "--lr-scheduler reduce_lr_on_plateau": args.lr_scheduler == "reduce_lr_on_plateau",
        }
        for option, there in looks_at_it.items():
            if there:
                raise UserError(
                    f"{option} goes by the validations, and --disable-validation leaves them out: "
                    "give one of the two"
                )
    if getattr(args, "eval_bleu", False):
        _check_bleu(args)
    if args.tensorboard_logdir:
        _check_writable("--tensorboard-logdir", args.tensorboard_logdir)
    higher = _HIGHER_IS_BETTER.get(args.best_checkpoint_metric)
    if higher is not None and higher != args.maximize_best_checkpoint_metric:
        _LOGGER.warning(
            f"--best-checkpoint-metric {args.best_checkpoint_metric} is best where it is "
            f"{'highest' if higher else 'lowest'}, and checkpoint_best.pt will be the worst: "
            f"{'add' if higher else 'leave out'} --maximize-best-checkpoint-metric"
        )


def _data(args: Namespace) -> str:
    """The first folder of the data; empty where there is none."""
    return split_paths(getattr(args, "data", None) or "")[0]


def _complete_pair(args: Namespace) -> None:
    """fairseq takes both languages from the data where one is missing, whatever the other is."""
    given = {getattr(args, "source_lang", None), getattr(args, "target_lang", None)} - {None}
    folder = _data(args)
    if len(given) != 1 or not os.path.isdir(folder):
        return
    pair, [one] = data_utils.infer_language_pair(folder), given
    if None in pair:
        return
    if one not in pair:
        option = "--source-lang" if args.source_lang else "--target-lang"
        raise UserError(f"{option} {one}: {folder} holds {'-'.join(pair)}, name one of these")
    other = pair[1] if one == pair[0] else pair[0]
    args.source_lang, args.target_lang = args.source_lang or other, args.target_lang or other


def _check_alignments(args: Namespace) -> None:
    """Without alignments fairseq trains on, and their loss is 0."""
    asked = getattr(args, "load_alignments", False)
    if str(args.criterion).endswith("_with_alignment") and not asked:
        raise UserError(
            f"--criterion {args.criterion} learns from alignments: give --load-alignments, and "
            "data that fairseq-preprocess --align-suffix has made"
        )
    folder = _data(args)
    if not asked or not os.path.isdir(folder):
        return
    if not any("train.align." in name for name in os.listdir(folder)):
        raise UserError(
            f"--load-alignments: {folder} has no alignments of train; give fairseq-preprocess "
            "their files by --align-suffix"
        )


def _check_precision(args: Namespace) -> None:
    if args.bf16 and args.amp:  # --fp16 and --amp are refused by fairseq
        raise UserError(
            "--bf16 and --amp are for the same: give --amp alone, which keeps the weights in "
            "float32, or --bf16 alone"
        )
    if args.fp16 and (args.cpu or not torch.cuda.is_available()):
        _LOGGER.warning(
            "--fp16 is slower than float32 on a CPU: leave it out, or give --amp for bfloat16"
        )


def _check_bleu(args: Namespace) -> None:
    for name in ("eval_bleu_args", "eval_bleu_detok_args"):
        _check_object(name_of(name), getattr(args, name))
    known = {option.name: option.default for option in fields(GenerationConfig)}
    search = json.loads(args.eval_bleu_args or "{}")
    for name, value in search.items():
        if name not in known:
            raise UserError(f"--eval-bleu-args has the unknown {name!r}: {suggestion(name, known)}")
        numeric = isinstance(known[name], int | float)
        if numeric and not isinstance(value, int | float):
            raise UserError(f"--eval-bleu-args: {name} must be a number, not {value!r}")
    if search.get("beam", 1) not in integers(1):
        raise UserError(f"--eval-bleu-args: beam {integers(1).refusal(search['beam'])}")
    tokenizers = REGISTRIES["tokenizer"]["registry"]
    if args.eval_bleu_detok not in tokenizers:
        hint = suggestion(args.eval_bleu_detok, tokenizers)
        raise UserError(f"--eval-bleu-detok has the unknown {args.eval_bleu_detok!r}: {hint}")


def _check_object(option: str, text: str | None) -> None:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{option} must be JSON such as '{{\"beam\": 4}}', not {text!r}")


def _check_writable(option: str, folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{option} {folder} cannot be written ({error.strerror}): choose another folder"
        ) from error


def restored_file(cfg: Any) -> str:
    """The path of the checkpoint that a training goes on from, if it is there.

    Args:
        cfg: fairseq's options of checkpoints, or all of its parsed options.
    """
    name: str = cfg.restore_file
    return os.path.join(cfg.save_dir, name) if name == "checkpoint_last.pt" else name


def check_restored(cfg: Any, suffix: str) -> None:
    """Raise a :class:`UserError` where there is no ``--restore-file``: fairseq would begin anew.

    Args:
        cfg: fairseq's options of checkpoints.
        suffix: what the first process' part of a checkpoint has in its name.
    """
    name = cfg.restore_file
    if name == "checkpoint_last.pt" or PathManager.exists(name.replace(".pt", suffix + ".pt")):
        return
    folder, file = os.path.split(name)
    hint = "to begin anew, leave it out"
    if os.path.exists(os.path.join(cfg.save_dir, name)):
        hint = f"give the whole path, {os.path.join(cfg.save_dir, name)}"
    elif os.path.isdir(folder or "."):
        close = difflib.get_close_matches(file, os.listdir(folder or "."))
        if close:
            hint = f"did you mean {' or '.join(os.path.join(folder, one) for one in close)}?"
    raise UserError(f"there is no --restore-file {name}: {hint}")


def check_metric(trainer: Any) -> None:
    """Validate with one sentence, if more is asked for than the loss, which every criterion has.

    Every process takes the same sentence.

    Raises:
        ErrorOnEveryRank: a validation lacks the number by which the best checkpoint is chosen.
    """
    cfg = trainer.cfg
    metric = cfg.checkpoint.best_checkpoint_metric
    bleu = bool(getattr(trainer.task.cfg, "eval_bleu", False))
    if cfg.dataset.disable_validation or (metric == "loss" and not bleu):
        return
    subset = cfg.dataset.valid_subset.split(",")[0]
    dataset = trainer.task.dataset(subset)
    batches = getattr(trainer.get_valid_iterator(subset), "frozen_batches", None)
    if not batches:  # of a task that streams its data
        return
    with metrics.aggregate(new_root=True) as found:
        trainer.valid_step(dataset.collater([dataset[batches[0][0]]]))
    names = set(found.get_smoothed_values()) - _SPEED
    if bleu:
        names.add("bleu")  # not of a sentence without a word
    if metric in names:
        return
    if metric == "bleu":
        raise ErrorOnEveryRank("--best-checkpoint-metric bleu needs --eval-bleu")
    raise ErrorOnEveryRank(
        f"--best-checkpoint-metric {metric}: a validation has no such number, but "
        f"{', '.join(sorted(names))}"
    )
