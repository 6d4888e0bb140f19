"""``--task gnmt_translation``: translation whose search uses the score of Wu et al. 2016, and whose
training can cut its text anew in each epoch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from omegaconf import II

from nmt_moe.common import ranges
from nmt_moe.common.errors import UserError
from nmt_moe.common.ranges import numbers, option
from nmt_moe.corpus import shortlist
from nmt_moe.corpus.shortlist import Shortlist
from nmt_moe.corpus.wordpieces.sampling import Sampler
from nmt_moe.models import quantized
from nmt_moe.tasks.gnmt_score import GNMTGenerator, GNMTGeneratorWithAlignment
from nmt_moe.tasks.sampled_pairs import SampledPairs


@dataclass
class GNMTTranslationConfig(TranslationConfig):
    """The options of fairseq's task, the two weights of the score, int8 and a shortlist, and of a
    training the sampling of wordpieces."""

    gnmt_alpha: float = option(
        0.2,
        numbers(0),
        "length normalisation: log P is divided by ((5 + length) / 6)^alpha; with "
        "alpha and beta 0 the search is that of --task translation --unnormalized",
    )
    gnmt_beta: float = option(
        0.2, numbers(0), "weight of the coverage penalty for source that no attention was on"
    )
    int8: bool = field(
        default=False,
        metadata={
            "help": "translate with weights in int8, on CPUs (--cpu): faster, in a quarter of the "
            "memory; for models of lstm_moe"
        },
    )
    shortlist: str = field(
        default="",
        metadata={
            "help": "file of 'nmt-moe model shortlist': translations have only the pieces that it "
            "allows, which makes the search faster"
        },
    )
    sample_wordpieces: float = option(
        0.0,
        numbers(0),
        "in training, cut the text into pieces anew in each epoch, by sampling: of unigram models "
        "cuts with their probability to the power of this (Kudo 2018: 0.1 to 0.5; less is more "
        "varied), of BPE models leave out each merge with this probability (Provilkov et al. 2020: "
        "0.1); needs --sentencepiece-model; 0: never",
    )
    sentencepiece_model: str = field(
        default="", metadata={"help": "the model that cut the text, for --sample-wordpieces"}
    )
    seed: int = II("common.seed")


@register_task("gnmt_translation", dataclass=GNMTTranslationConfig)
class GNMTTranslationTask(TranslationTask):
    """fairseq's translation task with another score; for any model that shows its attention.

    Raises:
        UserError: a weight that is negative or no number, or a shortlist that is missing or that of
            another vocabulary.
    """

    cfg: GNMTTranslationConfig

    def __init__(self, cfg: GNMTTranslationConfig, src_dict: Any, tgt_dict: Any) -> None:
        super().__init__(cfg, src_dict, tgt_dict)
        ranges.check(GNMTTranslationConfig, cfg)
        self._tables: dict[str, Shortlist] = {}
        self._shortlist(None)  # or an error comes after all else is loaded

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build a model; with ``--int8`` the one of a checkpoint in int8.

        Raises:
            UserError: ``--int8`` is given for a training or another kind of model.
        """
        if self.cfg.int8:
            if not from_checkpoint:
                raise UserError(
                    "--int8 is for translating: train without it, and give it to fairseq-generate"
                )
            quantized.ask_for(cfg)
        return super().build_model(cfg, from_checkpoint)

    def load_dataset(
        self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any
    ) -> None:
        """Load a part of the data; with ``--sample-wordpieces`` a training cuts its own anew.

        fairseq-validate and fairseq-generate, which name the options of the model's training as
        ``task_cfg``, see the pieces that the data has.

        Raises:
            UserError: the sentencepiece model is missing or does not fit, or other options do not.
        """
        super().load_dataset(split, epoch, combine, **kwargs)
        trains = split == self.cfg.train_subset and "task_cfg" not in kwargs
        if not self.cfg.sample_wordpieces or not trains:
            return
        clash = "--load-alignments" if self.cfg.load_alignments else ""
        clash = "--num-batch-buckets" if self.cfg.num_batch_buckets else clash
        if clash:
            raise UserError(f"{clash} needs the pieces that the data has: no --sample-wordpieces")
        limits = (self.cfg.max_source_positions, self.cfg.max_target_positions)
        self.datasets[split] = SampledPairs(
            self.datasets[split], self.sampler(), self.cfg.seed, limits
        )

    def sampler(self) -> Sampler:
        """What cuts the text of a training.

        Raises:
            UserError: the sentencepiece model is not given or missing, or cannot sample.
        """
        path = self.cfg.sentencepiece_model
        if not path:
            raise UserError(
                "--sample-wordpieces needs the model that cut the text: give --sentencepiece-model"
            )
        try:
            return Sampler(Path(path), self.cfg.sample_wordpieces)
        except UserError as error:
            raise UserError(f"--sentencepiece-model {path}: {error}") from None

    def build_generator(
        self,
        models: Any,
        args: Any,
        seq_gen_cls: Any = None,
        extra_gen_cls_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The search; or fairseq's scorer with ``--score-reference``.

        Args:
            models: an ensemble, whose attention is averaged.
            args: fairseq's options of generation. Those that change the search itself, such as
                sampling, constraints or a diverse beam, keep their meaning. ``gnmt_alpha``,
                ``gnmt_beta`` and ``shortlist`` among them replace the task's.
            seq_gen_cls: a generator class to use instead of ours.
            extra_gen_cls_kwargs: further arguments of the generator.
            kwargs: passed on to fairseq's.

        Raises:
            UserError: fairseq's own length normalisation is asked for too, or the shortlist is
                missing or that of another vocabulary.
        """
        extra = dict(extra_gen_cls_kwargs or {})
        table = self._shortlist(getattr(args, "shortlist", None))
        if table is not None and getattr(args, "score_reference", False):
            raise UserError("--shortlist is for a search: leave it out with --score-reference")
        if seq_gen_cls is None and not getattr(args, "score_reference", False):
            _check_normalisation(args)
            seq_gen_cls = GNMTGenerator
            if getattr(args, "print_alignment", None):
                seq_gen_cls = GNMTGeneratorWithAlignment
                extra["print_alignment"] = args.print_alignment
            weights = {
                name: getattr(args, name, getattr(self.cfg, name))
                for name in ("gnmt_alpha", "gnmt_beta")
            }
            extra |= weights | {"shortlist": table}
            if weights["gnmt_beta"] > 0:
                _show_attention(models)
        return super().build_generator(
            models, args, seq_gen_cls=seq_gen_cls, extra_gen_cls_kwargs=extra, **kwargs
        )

    def _shortlist(self, given: str | None) -> Shortlist | None:
        path = given or self.cfg.shortlist
        if not path:
            return None
        if path not in self._tables:
            pieces = self.source_dictionary.symbols, self.target_dictionary.symbols
            self._tables[path] = shortlist.read(Path(path), *pieces)
        return self._tables[path]


def _check_normalisation(args: Any) -> None:
    lenpen = getattr(args, "lenpen", 1)
    if lenpen != 1 or getattr(args, "unnormalized", False):
        given = f"--lenpen {lenpen:g}" if lenpen != 1 else "--unnormalized"
        raise UserError(
            f"{given} is fairseq's own length normalisation and --task gnmt_translation has "
            "another: use --gnmt-alpha, 0 for none"
        )


def _show_attention(models: Any) -> None:
    """fairseq's LSTM and convolutional decoders hide it from a search unless told otherwise."""
    for model in models:
        decoder: Any = getattr(model, "decoder", None)
        if hasattr(decoder, "need_attn"):
            decoder.need_attn = True
