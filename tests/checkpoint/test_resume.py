"""The place in an epoch that has other batches than when it was saved."""

import logging
from types import SimpleNamespace

import pytest
import torch
from fairseq.data.iterators import EpochBatchIterator, GroupedIterator
from hypothesis import given
from hypothesis import strategies as st

import nmt_moe.plugin  # noqa: F401 (what a checkpoint notes of an epoch)
from nmt_moe.fairseq_fixes import resume


class Numbers(torch.utils.data.Dataset):
    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> int:
        return number


def iterator(size: int) -> EpochBatchIterator:
    """Of as many batches, each with its own number."""
    return EpochBatchIterator(Numbers(size), torch.tensor, [[number] for number in range(size)])


def trainer(size: int, frequency: int) -> SimpleNamespace:
    """What there is of a trainer when fairseq restores a checkpoint."""
    cfg = SimpleNamespace(optimization=SimpleNamespace(update_freq=[frequency]))
    return SimpleNamespace(cfg=cfg, get_train_iterator=lambda epoch: iterator(size))


def saved_after(size: int, done: int) -> dict:
    """The state of an iterator in the middle of its second epoch."""
    epoch_itr = iterator(size)
    for _ in epoch_itr.next_epoch_itr():
        pass
    batches = epoch_itr.next_epoch_itr()
    for _ in range(done):
        next(batches)
    return epoch_itr.state_dict()


def resumed(state: dict, size: int, frequency: int = 1) -> EpochBatchIterator:
    new = trainer(size, frequency)
    with resume.in_proportion(new):
        epoch_itr = new.get_train_iterator(epoch=state["epoch"])
    epoch_itr.load_state_dict(state)
    return epoch_itr


@given(st.data(), st.integers(2, 30), st.integers(1, 30), st.integers(1, 5))
def test_any_number_of_batches_and_of_those_in_an_update(data, before, now, frequency) -> None:
    done = data.draw(st.integers(1, before - 1))
    epoch_itr = resumed(saved_after(before, done), now, frequency)
    place = epoch_itr.iterations_in_epoch
    assert epoch_itr.epoch == 2 and place % frequency == 0
    assert -frequency < place - done * now / before <= 0
    updates = list(GroupedIterator(epoch_itr.next_epoch_itr(), frequency))  # fairseq counts them
    assert sum(map(len, updates)) == now - place
    assert epoch_itr.end_of_epoch() and epoch_itr.next_epoch_idx == 3


def test_the_same_batches_go_on_where_they_were(caplog: pytest.LogCaptureFixture) -> None:
    state = saved_after(10, 4)
    went_on = [batch.item() for batch in resumed(state, 10, 2).next_epoch_itr()]
    whole = iterator(10)
    whole.load_state_dict({"epoch": 2})
    assert went_on == [batch.item() for batch in whole.next_epoch_itr()][4:]
    assert not caplog.records


def test_the_log_says_where_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        resumed(saved_after(10, 5), 20, 4)
    assert "20 batches for each process here, 4 in an update" in caplog.text
    assert "after 5 of 10: going on after 8, " in caplog.text


def test_a_checkpoint_that_does_not_say_how_many_there_were() -> None:
    """Of a version before: goes on as it did, or anew where fairseq would have given up."""
    old = {name: value for name, value in saved_after(10, 5).items() if name != "batches"}
    assert resumed(old, 12).iterations_in_epoch == 5
    assert resumed(old, 5).iterations_in_epoch == 0
