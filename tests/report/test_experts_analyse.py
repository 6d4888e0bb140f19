"""A whole report against evaluations of single sentences, for small models of random weights."""

import math
import tracemalloc
from collections import Counter, defaultdict
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt_moe.common.errors import UserError
from nmt_moe.report.experts import batches
from nmt_moe.report.experts.analyse import analyse
from nmt_moe.report.experts.data import Data
from nmt_moe.trained import TrainedModel
from tests.report.experts import data_of, pairs, random_model

MODELS: dict[str, dict[str, Any]] = {
    "translation": dict(arch="lstm_moe", encoder_bidirectional=True),
    "hierarchy": dict(arch="lstm_moe", moe_groups=3, encoder_moe_after="1,3"),
    "strictly balanced": dict(arch="lstm_moe", moe_gating="strictly_balanced"),
    "language": dict(arch="lstm_moe_lm", moe_after="1,2"),
}


@pytest.fixture(params=MODELS)
def trained(request: pytest.FixtureRequest) -> TrainedModel:
    return random_model(**MODELS[request.param])


def some(trained: TrainedModel, number: int = 30) -> list[Any]:
    found = pairs(trained.task.source_dictionary, number)
    return found if trained.languages else [(None, target) for _, target in found]


def report(trained: TrainedModel, found: list[Any], max_tokens: int = 30, **options: Any) -> Any:
    arguments = dict(labels=None, sentences=[], limit=None, max_tokens=max_tokens) | options
    return analyse(trained, data_of(found), **arguments)


class Naive:
    """Sentence by sentence, token by token."""

    def __init__(self, trained: TrainedModel, found: list[Any]) -> None:
        self.words = trained.task.source_dictionary
        self.nll, self.predicted = 0.0, 0
        self.tokens: Counter[str] = Counter()
        self.assigned: dict[str, list[tuple[int, float, int, int, list[str]]]] = defaultdict(list)
        for line, (source, target) in enumerate(found):
            read = torch.cat([target[-1:], target[:-1]])
            with torch.no_grad():
                inputs = [read[None]] if source is None else [source[None], None, read[None]]
                logits, extra = trained.model(*inputs)
            log_p = logits[0].log_softmax(1)
            self.nll -= sum(log_p[i, token].item() for i, token in enumerate(target))
            self.predicted += len(target)
            for layer, routing in extra["routing"].items():
                seen = source if layer.startswith("encoder") else read
                symbols = [self.words[token] for token in seen]
                self.tokens[layer] += len(seen)
                for token, expert, gate in zip(
                    routing.token_A.tolist(), routing.expert_A.tolist(),
                    routing.gate_A.tolist(), strict=True,
                ):  # fmt: skip
                    self.assigned[layer].append((expert, gate, line, token, symbols))

    def of(self, layer: str, expert: int) -> list[tuple[float, int, int, list[str]]]:
        return [found[1:] for found in self.assigned[layer] if found[0] == expert]


def test_every_number_is_that_of_the_routings(trained) -> None:
    found = some(trained)
    content, naive = report(trained, found), Naive(trained, found)
    assert content["data"]["perplexity"] == pytest.approx(math.exp(naive.nll / naive.predicted))
    assert content["data"]["target_tokens"] == naive.predicted
    sources = sum(len(source) for source, _ in found if source is not None)
    assert content["data"]["source_tokens"] == sources
    assert content["data"]["sentences"] == 30
    assert [layer["name"] for layer in content["layers"]] == list(naive.assigned)
    for layer in content["layers"]:
        assigned, tokens = naive.assigned[layer["name"]], naive.tokens[layer["name"]]
        counts, importance = [0] * 6, [0.0] * 6
        for expert, gate, *_ in assigned:
            counts[expert] += 1
            importance[expert] += gate
        assert layer["experts"] == 6 and layer["counts"] == counts
        assert layer["tokens"] == tokens and layer["assignments"] == len(assigned)
        assert layer["importance"] == pytest.approx(importance)
        for name, values in (("importance_cv", importance), ("load_cv", counts)):
            mean = sum(values) / 6
            variance = sum((value - mean) ** 2 for value in values) / 6
            assert layer[name] == pytest.approx(math.sqrt(variance) / mean)
        assert layer["max_over_mean"] == pytest.approx(max(counts) / (sum(counts) / 6))
        assert layer["dead"] == counts.count(0)
        assert layer["top_share"] == pytest.approx(max(counts) / sum(counts))
        entropy = -sum(gate * math.log2(gate) for _, gate, *_ in assigned) / tokens
        assert layer["entropy"] == pytest.approx(entropy)
        joint = Counter((expert, symbols[token]) for expert, _, _, token, symbols in assigned)
        base = Counter(symbols[token] for _, _, _, token, symbols in assigned)
        bits = sum(
            n / len(assigned) * math.log2(n * len(assigned) / (counts[expert] * base[token]))
            for (expert, token), n in joint.items()
        )
        assert layer["information"]["wordpiece"]["bits"] == pytest.approx(bits)
        assert layer["information"]["label"] is None
        for expert, details in enumerate(layer["details"]):
            for entry in details["typical"]:
                assert entry["count"] == joint[expert, entry["token"]]
                assert entry["base"] == pytest.approx(base[entry["token"]] / len(assigned))
            assert details["labels"] is None


def test_contexts_are_those_of_a_naive_evaluation(trained) -> None:
    """Table 9: the highest gates of each expert, one context of each line."""
    found = some(trained)
    content, naive = report(trained, found), Naive(trained, found)
    for layer in content["layers"]:
        for expert, details in enumerate(layer["details"]):
            best: dict[int, tuple[float, int, list[str]]] = {}
            for exact, line, token, symbols in naive.of(layer["name"], expert):
                gate = round(exact, 6)
                if line not in best or gate > best[line][0]:
                    best[line] = gate, token, symbols
            expected = sorted(best.values(), key=lambda context: -context[0])[:8]
            gates = [context["gate"] for context in details["contexts"]]
            assert gates == [gate for gate, _, _ in expected]
            for context, (_, token, symbols) in zip(details["contexts"], expected, strict=True):
                assert context["token"] == symbols[token]
                assert context["before"] == " ".join(symbols[max(0, token - 6) : token])
                assert context["after"].split() == symbols[token + 1 : token + 7]


def test_any_batches_give_the_same() -> None:
    trained = random_model(**MODELS["translation"])
    found = some(trained, 12)
    expected = report(trained, found)

    @settings(max_examples=20)
    @given(st.integers(1, 120), st.sampled_from([1, 5, 4096]))
    def check(max_tokens, window) -> None:
        before, batches._SORTED = batches._SORTED, window
        try:
            content = report(trained, found, max_tokens)
        finally:
            batches._SORTED = before
        same(content, expected)

    check()


def same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            same(first, second)
    else:
        assert one == (pytest.approx(other, rel=1e-9, abs=1e-6) if type(one) is float else other)


def test_labels_follow_their_sentences(tmp_path) -> None:
    trained = random_model(**MODELS["translation"])
    found = some(trained)
    names = ["long" if len(source) > 5 else "short" for source, _ in found]
    (tmp_path / "labels").write_text("".join(f"{name}\n" for name in names))
    content = report(trained, found, labels=tmp_path / "labels")
    assert set(content["data"]["labels"]) == {"long", "short"}
    naive = Naive(trained, found)
    for layer in content["layers"]:
        assigned = naive.assigned[layer["name"]]
        base = sum(names[line] == "long" for _, _, line, _, _ in assigned) / len(assigned)
        for expert, details in enumerate(layer["details"]):
            lines = [line for _, line, _, _ in naive.of(layer["name"], expert)]
            if not lines:  # an expert that no token has chosen
                assert not details["labels"]
                continue
            shares = {entry["label"]: entry for entry in details["labels"]}
            share = sum(names[line] == "long" for line in lines) / len(lines)
            assert shares["long"]["share"] == pytest.approx(share)
            assert shares["long"]["base"] == pytest.approx(base)
        p = [base, 1 - base]
        entropy = -sum(x * math.log2(x) for x in p)
        assert layer["information"]["label"]["entropy"] == pytest.approx(entropy)
        assert layer["information"]["label"]["bits"] > 0

    (tmp_path / "labels").write_text("one\ntwo\n")
    with pytest.raises(UserError, match="labels has 2 labels, some text has 30 sentences: line n"):
        report(trained, found, labels=tmp_path / "labels")


def force(trained: TrainedModel, layer: str, classes: dict[int, int]) -> None:
    """Let the gate choose by the token alone, before the encoder's LSTMs can mix them."""
    embedding = trained.model.encoder.embedding.weight
    gate = trained.model.encoder.feed_forwards["1"].moe.gate
    with torch.no_grad():
        embedding.zero_()
        gate.w_gate.zero_()
        for token, number in classes.items():
            embedding[token, number] = 1000.0
        for number in range(gate.num_experts):
            gate.w_gate[number, number] = 1.0


def test_experts_of_token_classes_have_the_information_of_the_classes(tmp_path) -> None:
    """The planted example: experts are a function of the token's class, labels of nothing."""
    trained = random_model("lstm_moe", moe_k=1, encoder_moe_after="1", decoder_moe_after="")
    words = trained.task.source_dictionary
    classes = {token: token % 6 for token in range(len(words))}
    force(trained, "encoder.1", classes)
    found = pairs(words, 400)
    (tmp_path / "labels").write_text("".join(f"{number % 5}\n" for number in range(400)))
    [layer] = report(trained, found, 500, labels=tmp_path / "labels")["layers"]
    tokens = Counter(classes[token.item()] for source, _ in found for token in source)
    assert layer["counts"] == [tokens[number] for number in range(6)]
    p = [count / sum(tokens.values()) for count in tokens.values()]
    entropy = -sum(share * math.log2(share) for share in p)
    information = layer["information"]
    assert information["wordpiece"]["bits"] == pytest.approx(entropy, abs=1e-6)
    assert information["wordpiece"]["experts_entropy"] == pytest.approx(entropy, abs=1e-6)
    assert information["wordpiece"]["shuffled"] < 0.1
    assert information["label"]["bits"] < 0.02
    assert information["label"]["bits"] == pytest.approx(information["label"]["shuffled"], abs=0.02)
    for expert, details in enumerate(layer["details"]):
        assert {words.index(entry["token"]) % 6 for entry in details["typical"]} <= {expert}
        assert all(context["gate"] == 1 for context in details["contexts"])


def test_sentences_show_the_experts_of_each_piece(trained) -> None:
    found = some(trained)
    content = report(trained, found)
    moderate = [
        (source, target)
        for source, target in found
        if len(target) >= 6 and (source is None or len(source) >= 6)
    ]
    assert len(content["sentences"]) == min(5, len(moderate)) >= 2
    words = trained.task.source_dictionary
    for shown, (source, target) in zip(content["sentences"], moderate, strict=False):
        pieces = [words[token] for token in target]
        assert shown["predicted"] == pieces and shown["target"] == ["</s>", *pieces[:-1]]
        assert shown["source"] == ([] if source is None else [words[token] for token in source])
        naive = Naive(trained, [(source, target)])
        for layer, rows in shown["experts"].items():
            assert len(rows) == naive.tokens[layer]
            for token, row in enumerate(rows):
                expected = {
                    expert: gate
                    for expert, gate, _, place, _ in naive.assigned[layer]
                    if place == token
                }
                assert {expert: pytest.approx(gate, abs=1e-6) for expert, gate in row} == expected
                gates = [gate for _, gate in row]
                assert gates == sorted(gates, reverse=True)
        if source is None:
            assert shown["attention"] is None
            continue
        with torch.no_grad():
            _, extra = trained.model(
                source[None], None, torch.cat([target[-1:], target[:-1]])[None]
            )
        torch.testing.assert_close(
            torch.tensor(shown["attention"], dtype=torch.float64), extra["attn"][0][0],
            atol=1e-4, rtol=0,
        )  # fmt: skip


def test_a_dense_model_has_no_layers() -> None:
    trained = random_model("lstm_moe", feed_forward="dense")
    content = report(trained, some(trained))
    assert content["layers"] == []
    assert content["data"]["perplexity"] > 1
    assert content["sentences"][0]["attention"] and content["sentences"][0]["experts"] == {}


def test_a_limit_and_what_is_too_long(capsys) -> None:
    trained = random_model(**MODELS["translation"])
    found = some(trained)
    long = torch.tensor([5] * 80 + [2])
    content = report(trained, [(long, long), *found], limit=11)
    same(content | {"data": None}, report(trained, found[:10]) | {"data": None})
    assert content["data"]["sentences"] == 10
    assert "warning: left out 1 sentences of more than 60 source or 60" in capsys.readouterr().err
    with pytest.raises(UserError, match="some text holds no sentences"):
        report(trained, [])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data() -> None:
    """Python's and numpy's; tensors are those of one batch."""
    trained = random_model(**MODELS["translation"])
    found = some(trained, 500)

    def peak(repeats: int) -> int:
        data = Data("text", 500 * repeats, (pair for _ in range(repeats) for pair in found))
        tracemalloc.start()
        try:
            analyse(trained, data, None, [], None, 4000)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(5)  # caches are filled
    small, large = peak(8), peak(32)
    assert large < 1.2 * small + 2**20, (small, large)
