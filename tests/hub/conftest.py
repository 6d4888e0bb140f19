"""Folders of trained models, as a user has them."""

from pathlib import Path

import pytest
import torch
from fairseq.data import LanguagePairDataset

from nmt_moe.trained import Encoder, load
from tests.conftest import Shared
from tests.report.experts import sentences, write_checkpoint

KNOWN = [f"{line}." for line in sentences(12, seed=5)]


@pytest.fixture(scope="session")
def folder(shared: Shared) -> Path:
    """A translation model that has learnt to repeat the first sentences of a corpus by heart."""

    def fill(folder: Path) -> None:
        learn(write_checkpoint(folder, dim=32, lstm_cells=32, moe_hidden_dim=32))

    return shared("hub", fill)


@pytest.fixture(scope="session")
def language_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of random weights."""
    folder = tmp_path_factory.mktemp("hub_lm")
    write_checkpoint(folder, arch="lstm_moe_lm")
    return folder


def learn(checkpoint: Path, updates: int = 100) -> None:
    """Train the model of a checkpoint to repeat what is known, and write it again."""
    trained = load(checkpoint)
    model, encoder = trained.model.train(), Encoder(trained)
    words = trained.task.source_dictionary
    tokens = [encoder.source(line) for line in KNOWN]
    sizes = torch.tensor([*map(len, tokens)])
    dataset = LanguagePairDataset(tokens, sizes, words, tokens, sizes, words)
    sample = dataset.collater([dataset[number] for number in range(len(KNOWN))])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    torch.manual_seed(0)
    for _ in range(updates):
        log_probs = model.get_normalized_probs(model(**sample["net_input"]), log_probs=True)
        loss = torch.nn.functional.nll_loss(
            log_probs.flatten(0, 1), sample["target"].flatten(), ignore_index=words.pad()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    state = torch.load(checkpoint)
    state["model"] = model.state_dict()
    torch.save(state, checkpoint)
