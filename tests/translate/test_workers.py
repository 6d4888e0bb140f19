"""Several processes that search at the same time."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nmt_moe.common.errors import UserError
from nmt_moe.trained import load
from nmt_moe.trained.device import workers_for
from nmt_moe.trained.searcher import Searcher
from tests.commands import run
from tests.report.experts import sentences, write_checkpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="they are forked")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("trained"))


@pytest.mark.parametrize("int8", [False, True])
def test_they_translate_and_align_as_one_does(checkpoint, int8):
    model, text = load(checkpoint, int8=int8), [*sentences(40, seed=7), "", "the dog " * 90]
    one = model.translator(batch_size=8)
    several = model.translator(batch_size=8, workers=3)
    assert several(text) == one(text)
    assert several.translate(text) == one.translate(text)
    for found, right in zip(several.aligned(text[:9]), one.aligned(text[:9]), strict=True):
        assert (found.text, found.source, found.target) == (right.text, right.source, right.target)
        assert np.array_equal(found.attention, right.attention)


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """The process and its threads at each batch, as a function that reads them."""
    file, search = tmp_path / "searched", Searcher._search

    def noting(self, best, given):
        with file.open("a") as out:
            out.write(f"{os.getpid()} {torch.get_num_threads()}\n")
        return search(self, best, given)

    monkeypatch.setattr(Searcher, "_search", noting)
    return lambda: [tuple(map(int, line.split())) for line in file.read_text().splitlines()]


def test_each_has_one_thread_and_all_work(checkpoint, searched):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        load(checkpoint).translator(batch_size=2, workers=2)(sentences(40, seed=1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert len({process for process, _ in searched()} - {os.getpid()}) == 2
    assert {number for _, number in searched()} == {1}


def test_one_batch_needs_no_other_process(checkpoint, searched):
    load(checkpoint).translator(workers=2)(sentences(5, seed=1))
    assert searched() == [(os.getpid(), torch.get_num_threads())]


def test_commands_have_one_for_each_thread(checkpoint, tmp_path):
    (tmp_path / "text").write_text("".join(f"{line}\n" for line in sentences(20, seed=2)))
    found = [
        run("nmt-moe", "translate", checkpoint, tmp_path / "text", "--batch-size", 4, *more).stdout
        for more in ([], ["--workers", 1], ["--workers", 2])
    ]
    assert found[0] == found[1] == found[2] and found[0].count("\n") == 20


def test_their_number(monkeypatch):
    threads = torch.get_num_threads()
    assert workers_for(torch.device("cpu")) == threads
    assert workers_for(torch.device("meta")) == 1
    monkeypatch.setattr(sys, "platform", "darwin")
    torch.set_num_threads(2)
    try:
        assert workers_for(torch.device("cpu")) == 1
    finally:
        torch.set_num_threads(threads)


def test_a_gpu_has_one(checkpoint):
    with pytest.raises(UserError, match="several workers are for CPUs: leave --workers out"):
        replace(load(checkpoint), device=torch.device("meta")).translator(workers=2)
