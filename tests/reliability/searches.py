"""What the tests of decoding share: models, sentences, and beam searches of fairseq."""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from fairseq.data import Dictionary, LanguagePairDataset
from hypothesis import strategies as st
from torch import Tensor

from nmt_moe.models.architectures import config
from nmt_moe.models.translation import LSTMMoEModel
from nmt_moe.tasks.gnmt_translation import GNMTTranslationConfig, GNMTTranslationTask

MAX_LENGTH = 12  # of a translation
_WORDS = 20
_GROUPS = dict(moe_experts=8, moe_groups=4)
_OTHER = dict(encoder_bidirectional=True, attention="additive", attention_residual=True)
_SECOND = dict(output_attention=True, encoder_residual_from=2, decoder_residual_from=2)
MODELS: dict[str, dict[str, Any]] = {
    "noisy_top_k": dict(),
    "noisy_top_k in groups": dict(_GROUPS, **_OTHER, lstm_cells=8),
    "strictly_balanced": dict(moe_gating="strictly_balanced", **_OTHER, **_SECOND),
    "strictly_balanced in groups": dict(_GROUPS, moe_gating="strictly_balanced", lstm_cells=8),
    "top_k": dict(_SECOND, moe_gating="top_k", encoder_bidirectional=True, lstm_cells=8),
    "top_k in groups": dict(_GROUPS, moe_gating="top_k", **_OTHER),
}
"""Options by the name of the gating, so that each other option occurs with several."""

Sentence = list[int]
"""Words as the dictionary numbers them, with the end of sentence."""


def make_task(alpha: float = 0.2, beta: float = 0.2) -> GNMTTranslationTask:
    words = Dictionary()
    for number in range(_WORDS):
        words.add_symbol(f"w{number}")
    return GNMTTranslationTask(
        GNMTTranslationConfig(gnmt_alpha=alpha, gnmt_beta=beta), words, words
    )


def make_model(kind: str, task: GNMTTranslationTask) -> Any:
    """A model in float64 whose numbers are large enough that each word matters."""
    sizes = dict(dim=8, lstm_cells=16, moe_experts=4, moe_k=2, moe_hidden_dim=8)
    torch.manual_seed(sum(map(ord, kind)))
    model = LSTMMoEModel.build_model(config("lstm_moe_tiny", sizes | MODELS[kind]), task)
    for name, parameter in model.named_parameters():
        if name.endswith("threshold"):
            torch.nn.init.uniform_(parameter, 0.1, 0.4)
        else:
            torch.nn.init.normal_(parameter, std=0.7)
    return model.double().eval()


def sentences(shortest: int = 0, longest: int = 9) -> st.SearchStrategy[Sentence]:
    first = Dictionary().nspecial
    words = st.integers(first, first + _WORDS - 1)
    end = Dictionary().eos()
    return st.lists(words, min_size=shortest, max_size=longest).map(lambda found: [*found, end])


def batch(task: Any, group: Sequence[Sentence], left_pad: bool = True) -> dict[str, Any]:
    """Sentences as fairseq collates them: the longest first, their places in ``id``."""
    dataset = LanguagePairDataset(
        [torch.tensor(sentence) for sentence in group],
        list(map(len, group)),
        task.source_dictionary,
        left_pad_source=left_pad,
    )
    return dataset.collater([dataset[number] for number in range(len(group))])


def search(
    task: Any, model: Any, group: Sequence[Sentence], beam: int, left_pad: bool = True
) -> list[list[dict[str, Tensor]]]:
    """The translations of each sentence, best first, of all sentences in one batch."""
    generator = task.build_generator(
        [model], Namespace(beam=beam, max_len_a=0, max_len_b=MAX_LENGTH)
    )
    sample = batch(task, group, left_pad)
    found = task.inference_step(generator, [model], sample)
    places = sample["id"].tolist()
    return [found[places.index(number)] for number in range(len(group))]


def forced(task: Any, model: Any, source: Sentence, tokens: Iterable[int]) -> tuple[Tensor, Tensor]:
    """One forward pass over source and translation.

    Returns:
        The log probabilities ``[L, V]`` of each next word, and the attention ``[L, S]``.
    """
    end = task.target_dictionary.eos()
    previous = torch.tensor([[end, *list(tokens)[:-1]]])
    with torch.no_grad():
        logits, extra = model(torch.tensor([source]), None, previous)
    return logits[0].log_softmax(-1), extra["attn"][0][0]
