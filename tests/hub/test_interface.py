"""from_pretrained: what is found, what is said of errors, and what comes out."""

import copy
import os
import shutil
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils, options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models.lstm import LSTMModel
from torch.ao.quantization import quantize_dynamic

from nmt_moe import LSTMMoELanguageModel, LSTMMoEModel, Translator, load
from nmt_moe.cli.translate import Translate
from nmt_moe.common.errors import UserError
from tests import forks
from tests.hub.conftest import KNOWN
from tests.recipes import ROOT
from tests.report.experts import sentences, write_checkpoint

LINES = [*KNOWN[:8], "", " ".join(KNOWN[8:10])]
LONG = " ".join(sentences(40))


@pytest.fixture(scope="module")
def hub(folder: Path) -> Any:
    return LSTMMoEModel.from_pretrained(folder)


@pytest.fixture(scope="module")
def lstm_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder with an untrained model of ``--arch lstm``."""
    there = tmp_path_factory.mktemp("lstm")
    for file in [*folder.glob("dict.*.txt"), folder / "sentencepiece.model"]:
        shutil.copy(file, there)
    given = [str(there), "--arch", "lstm", "--source-lang", "en", "--target-lang", "xx"]
    small = [
        f"--{side}-{part}=8"
        for side in ("encoder", "decoder")
        for part in ("embed-dim", "hidden-size")
    ]
    args = options.parse_args_and_arch(
        options.get_training_parser(), [*given, *small, "--decoder-out-embed-dim=8"]
    )
    cfg = convert_namespace_to_omegaconf(args)
    task = tasks.setup_task(cfg.task)
    torch.manual_seed(0)
    state = {
        "args": None,
        "cfg": cfg,
        "model": task.build_model(cfg.model).state_dict(),
        "optimizer_history": [{"num_updates": 1, "lr_scheduler_state": {}}],
        "extra_state": {"train_iterator": None},
    }
    checkpoint_utils.torch_persistent_save(state, str(there / "checkpoint_best.pt"))
    return there


def command(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, checkpoint: Path, lines: list[str]
) -> list[str]:
    """What ``nmt-moe translate`` prints."""
    text = "".join(f"{line}\n" for line in lines).encode()
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(text)))
    Translate(checkpoint=str(checkpoint), device="cpu").run()
    return capsys.readouterr().out.split("\n")[:-1]


def test_translations_are_those_of_the_command(hub, folder, monkeypatch, capsys) -> None:
    lines = [*LINES, LONG]
    found = hub.translate(lines)
    assert found == command(monkeypatch, capsys, folder / "checkpoint_best.pt", lines)
    assert found[0] == LINES[0] and found[8] == ""  # it has learnt
    assert hub.translate(lines[0]) == found[0]
    translate = load(folder / "checkpoint_best.pt").translator()
    assert isinstance(translate, Translator)
    assert translate(LINES[:8]) == found[:8] == hub.sample(LINES[:8], beam=4)


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["checkpoint_best", "checkpoint_last", "checkpoint3"], "checkpoint_best"),
        (["checkpoint_last", "checkpoint3"], "checkpoint_last"),
        (["checkpoint3"], "checkpoint3"),
        (["checkpoint_best", "model"], "model"),
    ],
)
def test_the_checkpoint_of_a_folder_is_found(folder, tmp_path, files, chosen) -> None:
    for file in [*folder.glob("dict.*.txt"), folder / "sentencepiece.model"]:
        (tmp_path / file.name).symlink_to(file)
    for name in files:
        target = folder / "checkpoint_best.pt" if name == chosen else tmp_path / "broken"
        (tmp_path / f"{name}.pt").symlink_to(target)
    assert LSTMMoEModel.from_pretrained(str(tmp_path)).translate(LINES[0]) == LINES[0]


def test_a_file_an_ensemble_and_dictionaries_elsewhere(folder, tmp_path) -> None:
    for name in ("a.pt", "b.pt"):
        shutil.copy(folder / "checkpoint_best.pt", tmp_path / name)
    shutil.copy(folder / "sentencepiece.model", tmp_path / "sentencepiece.bpe.model")
    found = LSTMMoEModel.from_pretrained(tmp_path, "a.pt:b.pt", data_name_or_path=folder)
    assert len(found.models) == 2 and found.translate(LINES[0]) == LINES[0]
    one = LSTMMoEModel.from_pretrained(folder / "checkpoint_best.pt", beam=2)
    assert len(one.generate(one.encode(LINES[0]))) == 2


def test_what_is_wrong_is_said_in_one_line(folder, language_folder, lstm_folder, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "run" / "training").mkdir(parents=True)
    (tmp_path / "run" / "training" / "checkpoint_best.pt").touch()
    (tmp_path / "two").mkdir()
    for name in ("a.pt", "b.pt"):
        (tmp_path / "two" / name).touch()
    for message, given in {
        "no folder and no checkpoint .*nowhere": dict(model_name_or_path=tmp_path / "nowhere"),
        "no checkpoint in .*empty$": dict(model_name_or_path=tmp_path / "empty"),
        "did you mean .*training": dict(model_name_or_path=tmp_path / "run"),
        "2 checkpoints, .*such as b.pt": dict(model_name_or_path=tmp_path / "two"),
        "use LSTMModel.from_pretrained": dict(model_name_or_path=lstm_folder),
        "use LSTMMoELanguageModel.from_pretrained": dict(model_name_or_path=language_folder),
        "there is no checkpoint .*other.pt": dict(checkpoint_file="other.pt"),
        "there is no folder .*binary": dict(data_name_or_path="./binary"),
        "no option 'beams' here: did you mean beam": dict(beams=3),
        "beam must be at least 1": dict(beam=0),
        "there is no bpe 'sentence'": dict(bpe="sentence"),
        "there is no device cuda": dict(device="cuda:9"),
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=message):
            LSTMMoEModel.from_pretrained(**{"model_name_or_path": folder} | given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda hub: hub.translate(3), "a text or a list of texts"),
        (lambda hub: hub.translate(["a", None]), "a text or a list of texts"),
        (lambda hub: hub.translate("a", beams=2), "did you mean beam"),
        (lambda hub: hub.sample("a", beam=0), "beam must be"),
        (lambda hub: hub.translate("a", gnmt_beta=-1), "gnmt_beta must be"),
        (lambda hub: hub.translate("a", lenpen=0.6), "use --gnmt-alpha"),
        (lambda hub: hub.score("a"), "score\\(sentences, translations\\)"),
        (lambda hub: hub.score(["a", "b"], ["a"]), "as many translations"),
    ],
)
def test_wrong_arguments_are_refused(hub, call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(hub)


def test_calls_and_results_are_those_of_fairseqs_lstm(hub, lstm_folder) -> None:
    theirs = LSTMModel.from_pretrained(
        str(lstm_folder), "checkpoint_best.pt", bpe="sentencepiece",
        sentencepiece_model=str(lstm_folder / "sentencepiece.model"),
    )  # fmt: skip
    line = LINES[0]
    tokens = hub.encode(line)
    assert torch.equal(tokens, theirs.encode(line)) and hub.string(tokens) == theirs.string(tokens)
    assert hub.decode(tokens) == theirs.decode(tokens) == line
    assert torch.equal(hub.binarize(hub.apply_bpe(line)), tokens)
    for call in (
        lambda one: one.translate([line, line], beam=2),
        lambda one: one.translate(line),
        lambda one: one.sample([line], sampling=True, sampling_topk=3),
        lambda one: one.generate(one.encode(line), beam=2),
        lambda one: one.generate([one.encode(line)], beam=3, prefix_allowed_tokens_fn=None),
        lambda one: one.to("cpu").eval().device,
        lambda one: one.max_positions,
        lambda one: (one.src_dict.symbols, one.tgt_dict.symbols, one.cfg.task.source_lang),
    ):
        assert kinds(call(hub)) == kinds(call(theirs))


def kinds(found: Any) -> Any:
    """The types within a result; a hypothesis of ours may have further entries."""
    if isinstance(found, dict):
        known = ("tokens", "score", "attention", "alignment", "positional_scores")
        return {name: kinds(found[name]) for name in known}
    if isinstance(found, list | tuple):
        return [type(found), *map(kinds, found)]
    return found.dtype if torch.is_tensor(found) else type(found)


def test_text_may_come_in_pieces_or_be_cut_by_fairseqs_own(hub, folder) -> None:
    pieces = LSTMMoEModel.from_pretrained(folder, bpe=None)
    tokens = hub.encode(LINES[0])
    assert torch.equal(pieces.encode(hub.string(tokens)), tokens)
    assert pieces.translate(hub.string(tokens)) == hub.string(tokens)
    others = LSTMMoEModel.from_pretrained(
        folder, bpe="characters", tokenizer="moses", moses_no_escape=True
    )
    assert (others.tokenizer.cfg.source_lang, others.tokenizer.cfg.target_lang) == ("en", "xx")
    assert others.apply_bpe(others.tokenize("A dog's.")) == "A ▁ d o g ▁ ' s ▁ ."


def test_without_a_sentencepiece_model_text_has_to_be_in_pieces(hub, folder, tmp_path) -> None:
    shutil.copy(folder / "checkpoint_best.pt", tmp_path)
    alone = LSTMMoEModel.from_pretrained(tmp_path, data_name_or_path=folder)
    pieces = hub.string(hub.encode(LINES[0]))
    assert alone.translate(pieces) == pieces
    with pytest.raises(UserError, match="sentencepiece.model: copy"):
        alone.translate("A dog.")


def test_the_target_language_is_chosen_among_several(tmp_path) -> None:
    write_checkpoint(tmp_path, symbols=["<2xx>", "<2yy>"])
    hub = LSTMMoEModel.from_pretrained(tmp_path, target_lang="yy")
    assert hub.src_dict[hub.encode("a dog")[0]] == "<2yy>"
    with pytest.raises(UserError, match="xx, yy: choose one"):
        LSTMMoEModel.from_pretrained(tmp_path)


def test_scores_are_the_log_probabilities_of_the_search(hub) -> None:
    [best, *_] = hub.generate(hub.encode(LINES[0]))
    scored = hub.score(LINES[0], hub.decode(best["tokens"]))
    assert torch.equal(scored["tokens"], best["tokens"])
    torch.testing.assert_close(scored["positional_scores"], best["positional_scores"])
    torch.testing.assert_close(scored["positional_scores"].sum(), best["log_probability"])
    several = hub.score(LINES[:3], LINES[2::-1])
    assert several[1]["score"] > max(several[0]["score"], several[2]["score"])


def test_weights_of_the_search_may_change_with_each_call(hub) -> None:
    tokens = hub.encode(LINES[0])
    [plain, *_] = hub.generate(tokens, gnmt_alpha=0, gnmt_beta=0)
    assert plain["score"] == plain["log_probability"]
    [default, *_] = hub.generate(tokens)
    assert default["score"] != default["log_probability"]


@pytest.mark.parametrize("precision", ["half", "bfloat16", "double"])
def test_other_precisions(hub, precision: str) -> None:
    converted = getattr(copy.deepcopy(hub), precision)()
    assert converted.models[0].decoder.embed_tokens.weight.dtype != torch.float32
    assert converted.translate(LINES[:4]) == LINES[:4]


def test_threads_translate(hub) -> None:
    expected = hub.translate(LINES)
    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(hub.translate, [LINES] * 8)] == [expected] * 8


def test_a_forked_process_translates_after_threads_have_computed(hub) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.randn(1000, 1000).tanh()
    expected = hub.translate(LINES[0])
    child = os.fork()
    if not child:
        forks.end_by_itself()
        signal.alarm(30)  # of a process that waits for ever
        torch.randn(1000, 1000).tanh()
        os._exit(hub.translate(LINES[0]) != expected)
    torch.set_num_threads(before)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_quantized_model_translates_alike(hub) -> None:
    quantized = quantize_dynamic(hub, {torch.nn.Linear, torch.nn.LSTM}, dtype=torch.qint8)
    same = [a == b for a, b in zip(quantized.sample(KNOWN), hub.sample(KNOWN), strict=True)]
    assert sum(same) >= len(KNOWN) - 1  # a near tie may go the other way


def test_a_language_model_goes_on_and_scores(language_folder) -> None:
    hub = LSTMMoELanguageModel.from_pretrained(language_folder)
    assert hub.sample("the dog", max_len_b=5).startswith("the dog")
    torch.manual_seed(0)
    [one, two] = hub.sample(["the dog"] * 2, sampling=True, max_len_b=20)
    assert one != two
    tokens = hub.encode("the dog sees")
    model = hub.models[0]
    start = torch.tensor([[hub.src_dict.eos()]])
    logits, _ = model(torch.cat([start, tokens[None, :-1]], dim=1))
    expected = logits[0, :-1].log_softmax(1).gather(1, tokens[:-1, None]).squeeze(1)
    torch.testing.assert_close(hub.score("the dog sees")["positional_scores"], expected)
    with pytest.raises(UserError, match="does not translate: use sample"):
        hub.translate("the dog")


def test_torch_hub_opens_a_folder(folder, language_folder) -> None:
    opened = torch.hub.load(str(ROOT), "lstm_moe", folder, beam=1, source="local")
    assert opened.translate(LINES[0]) == LINES[0]
    language = torch.hub.load(str(ROOT), "lstm_moe_lm", folder=language_folder, source="local")
    assert language.score("the dog")["score"] < 0
