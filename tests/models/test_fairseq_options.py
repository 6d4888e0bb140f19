"""Options of fairseq's models: each is one of ours, stands for one, or is explained."""

import argparse
import logging

import pytest
import torch
from fairseq import options
from fairseq.models import MODEL_REGISTRY

from nmt_moe.common.errors import UserError
from nmt_moe.models.architectures import build, config
from nmt_moe.models.config import LSTMMoEConfig, LSTMMoELanguageModelConfig
from nmt_moe.models.fairseq_options import OPTIONS, known, translated
from tests.commands import PLUGIN, run, train
from tests.models.build import SMALL, build_model, dictionary, pad_batch

OURS = {
    "lstm": LSTMMoEConfig,
    "transformer": LSTMMoEConfig,
    "lstm_lm": LSTMMoELanguageModelConfig,
    "transformer_lm": LSTMMoELanguageModelConfig,
}


def own(model: str) -> list[str]:
    return list(OURS[model].__dataclass_fields__)


def theirs(model: str) -> dict[str, argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    MODEL_REGISTRY[model].add_args(parser)
    return {action.dest: action for action in parser._actions}


def parsed(*words: str, task: str = "translation") -> argparse.Namespace:
    parser = options.get_training_parser(task)
    return options.parse_args_and_arch(parser, ["data", "--task", task, *words])


@pytest.mark.parametrize("model", OURS)
def test_every_option_of_fairseqs_models_is_known(model):
    """But the longest sentences, which are options of the tasks as well."""
    table = known(own(model))
    found = theirs(model)
    unknown = {*found} - {*own(model)} - {*table}
    assert len(found) > 10 and unknown <= {"max_source_positions", "max_target_positions"}
    for name in {*found} & {*table}:
        assert (found[name].nargs == 0) == (table[name].kind is bool), name


VALUES = {int: 3, float: 0.5, str: "some", bool: True}


@pytest.mark.parametrize("model", ["lstm", "lstm_lm"])
def test_each_option_does_as_the_table_says(model, caplog):
    table = known(own(model))
    assert {name for option in OPTIONS for name in option.names.split()} >= {*table}
    for name, option in table.items():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            for same in option.same:
                assert translated({name: same}, own(model)) == {}, name
            assert not caplog.messages, name
            value = VALUES[option.kind]
            if option.refused:
                with pytest.raises(UserError, match=f"^--{name.replace('_', '-')}.*: ") as error:
                    translated({name: value}, own(model))
                assert option.why in str(error.value) and "\n" not in str(error.value)
                continue
            want = {option.ours: value} if option.ours else {}
            assert set(want) <= set(own(model)), name
            assert translated({name: value}, own(model)) == want, name
        silent = bool(option.ours) or option.same == (True,)
        assert len(caplog.messages) == (not silent), name


def test_a_command_for_lstm_trains_ours(caplog):
    words = ["--arch", "lstm_moe_tiny", "--encoder-embed-dim", "256", "--encoder-layers", "1"]
    words += ["--encoder-hidden-size", "512", "--decoder-embed-dim", "256", "--decoder-layers", "1"]
    words += ["--decoder-hidden-size", "512", "--decoder-out-embed-dim", "256"]
    words += ["--decoder-attention", "True", "--dropout", "0.2", "--encoder-dropout-in", "0"]
    args = parsed(*words)
    assert (args.dim, args.lstm_cells, args.encoder_layers, args.encoder_moe_after) == (
        *(256, 512),
        *(1, "1"),
    )
    assert args.encoder_dropout_in == 0.0 and not hasattr(args, "encoder_dropout_out")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_command_for_transformer_trains_ours(caplog):
    words = ["--arch", "lstm_moe_tiny", "--encoder-embed-dim", "256", "--decoder-embed-dim", "256"]
    words += ["--encoder-ffn-embed-dim", "1024", "--decoder-ffn-embed-dim", "1024"]
    words += ["--encoder-attention-heads", "4", "--attention-dropout", "0.1"]
    words += ["--activation-fn", "relu", "--checkpoint-activations"]
    args = parsed(*words)
    assert (args.dim, args.lstm_cells, args.moe_hidden_dim) == (256, 256, 1024)
    assert args.moe_recompute
    said = [message for message in caplog.messages if "changes nothing" in message]
    assert len(said) == 2 and "--attention-dropout 0.1" in said[0] + said[1]


def test_a_command_for_lstm_lm_trains_ours():
    words = ["--arch", "lstm_moe_lm_tiny", "--decoder-embed-dim", "64", "--decoder-layers", "1"]
    words += ["--decoder-hidden-size", "96", "--decoder-attention", "0", "--residuals"]
    args = parsed(*words, task="language_modeling")
    assert (args.dim, args.lstm_cells, args.layers, args.moe_after) == (64, 96, 1, "1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--encoder-embed-dim 256 --decoder-embed-dim 512", "--encoder-embed-dim 256 and --dec"),
        ("--dim 64 --decoder-embed-dim 512", "^--dim 64 and --decoder-embed-dim 512: .* one width"),
        ("--decoder-attention False", "the decoder always attends to the source"),
        (
            "--share-all-embeddings --encoder-embed-path a --decoder-embed-path b",
            "^--share-all-embeddings has one matrix: give one of",
        ),
        ("--base-layers 1", "BASE layers are other experts"),
        ("--encoder-layers 1 --encoder-moe-after 2", "there is no layer 2"),
    ],
)
def test_contradictions_are_one_line(words, message):
    with pytest.raises(UserError, match=message):
        build_args = parsed("--arch", "lstm_moe_tiny", *words.split())
        given = {n: getattr(build_args, n, None) for n in own("lstm") if n != "_name"}
        build(config("lstm_moe_tiny", given), 10)


def test_defaults_fit_the_layers_and_the_width():
    cfg = config("lstm_moe_tiny", {"encoder_layers": 1, "dim": 200})
    assert (cfg.encoder_moe_after, cfg.decoder_moe_after, cfg.lstm_cells) == ("1", "1", 200)
    assert config("lstm_moe_tiny", {"encoder_layers": 1, "encoder_moe_after": ""}).moe_k == 2
    assert config("lstm_moe_tiny", {"encoder_layers": 5}).encoder_moe_after == "2"


def test_dropout_of_each_part():
    parts = {"encoder_dropout_in": 0.1, "encoder_dropout_out": 0.2, "decoder_dropout_out": 0.0}
    model = build_model(dropout=0.5, **parts)
    encoder, decoder = model.encoder, model.decoder
    found = [part.dropout_in.p for part in (encoder, decoder)]
    found += [part.dropout.p for part in (encoder, decoder)]
    found += [part.feed_forwards[n].dropout.p for part, n in ((encoder, "2"), (decoder, "1"))]
    assert found == [0.1, 0.5, 0.2, 0.0, 0.2, 0.0]


def vectors(path, dim: int = 8, head: str = "3 {dim}\n"):
    """Of w1, of a word with a space in it, and of one that the dictionary has not."""
    lines = ["w1 " + " ".join(map(str, range(dim))), "w 2" + " 1" * dim, "other" + " 2.5" * dim]
    path.write_text(head.format(dim=dim) + "".join(f"{line} \n" for line in lines))
    return path


@pytest.mark.parametrize("head", ["3 {dim}\n", ""])
@pytest.mark.parametrize("arch", ["lstm_moe", "lstm_moe_lm"])
def test_vectors_of_a_file_are_read_by_the_lstm_as_they_are(arch, head, tmp_path):
    path = vectors(tmp_path / "vectors.txt", head=head)
    cfg = config(arch, SMALL | {"decoder_embed_path": str(path), "decoder_freeze_embed": True})
    words = dictionary()
    torch.manual_seed(0)
    model = build(cfg, len(words))
    torch.manual_seed(0)
    without = build(config(arch, SMALL), len(words)).decoder.embedding.weight
    read = []
    layer = model.decoder.layers[0]
    layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    tokens = pad_batch([[words.index("w1"), words.index("w3"), 2]], words.pad(), left=False)
    model(*((tokens,) if arch == "lstm_moe_lm" else (tokens, None, tokens)))
    torch.testing.assert_close(read[0][0, 0], torch.arange(8.0))
    embedding = model.decoder.embedding.weight
    changed = (embedding != without).any(1).nonzero().flatten().tolist()
    assert changed == [words.index("w1")] and not embedding.requires_grad


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "^--encoder-embed-path .* cannot be read: No such file or directory$"),
        ("w1 1 2 3\n", "has vectors of 3 numbers, and the model is 8 wide: give --dim 3,"),
        ("5 300\n", "has vectors of 300 numbers"),
        ("2 8\nw1 1 2 3 4 5 6 7 x\n", "line 2: no word and 8 numbers$"),
        ("2 8\nw1 1 2 3 4 5 6 7 inf\n", "line 2: no word and 8 numbers$"),
        ("2 8\nw1 1 2 3\n", "line 2: no word and 8 numbers$"),
        ("2 8\n", "has a vector of none of the 24 words"),
    ],
)
def test_files_that_hold_no_such_vectors(text, message, tmp_path):
    path = tmp_path / "vectors.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        build_model(encoder_embed_path=str(path))


def test_a_checkpoint_holds_the_vectors_of_a_file(data, tmp_path):
    """They are not learned, and their file is needed no more."""
    words = [line.split()[0] for line in (data / "dict.a.txt").read_text().splitlines()]
    path = tmp_path / "vectors.txt"
    path.write_text("".join(f"{word}{' 1.5' * 16}\n" for word in words))
    given = ["--encoder-embed-path", path, "--encoder-freeze-embed", "--optimizer", "moe_adam"]
    train(data, tmp_path, *given, "--max-update", 2)
    path.unlink()
    checkpoint = tmp_path / "checkpoint_last.pt"
    weights = torch.load(checkpoint, weights_only=True)["model"]["encoder.embedding.weight"]
    assert torch.equal(weights[4 : 4 + len(words)], torch.full((len(words), 16), 1.5 / 4))
    where = ["--user-dir", PLUGIN, "--path", checkpoint, "--cpu", "--max-len-b", 2]
    run("fairseq-generate", data, *where)
