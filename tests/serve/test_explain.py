"""What is said about a sentence is what the model did."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nmt_moe.serve.explain import alignment, explain
from nmt_moe.trained import TrainedModel, Translator, load, search
from nmt_moe.trained.alignment import Aligned, words
from tests.report.experts import write_checkpoint

SENTENCE = "The old dog, sees a big red cat."


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model has learned nothing, and would write on and on."""
    monkeypatch.setattr(search, "_MAX_TRANSLATION", 20)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(
        tmp_path_factory.mktemp("trained"), symbols=["<2xx>", "<2yy>"], moe_experts=6, moe_k=2
    )


@pytest.fixture(scope="module")
def trained(checkpoint: Path) -> TrainedModel:
    return load(checkpoint, target_lang="xx")


@pytest.fixture
def translator(trained: TrainedModel) -> Translator:
    return trained.translator(beam=4, max_pieces=30)


def test_the_beam_has_the_translation_and_others(
    trained: TrainedModel, translator: Translator
) -> None:
    found = explain(trained, translator, f"  {SENTENCE.replace(' ', '  ')}\t")
    assert found["text"] == SENTENCE  # cleaned as a line that is translated
    texts = [found["translation"], *found["alternatives"]]
    assert texts[0] == translator.translate(SENTENCE)
    assert 2 <= len(texts) <= 4 and len({*texts}) == len(texts)


def test_words_have_their_places(trained: TrainedModel, translator: Translator) -> None:
    found = explain(trained, translator, SENTENCE)
    shown = [SENTENCE[word["start"] : word["end"]] for word in found["source"]]
    assert shown == "The old dog , sees a big red cat .".split()
    assert len(found["alignment"]) == len(found["target"])
    assert all(number in range(len(shown)) for row in found["alignment"] for number in row)
    written = "".join(found["translation"][word["start"] : word["end"]] for word in found["target"])
    assert written == "".join(found["translation"].split())


def test_experts_are_those_that_the_gates_chose(
    trained: TrainedModel, translator: Translator
) -> None:
    """Against the layers themselves, asked step by step as the search does."""
    found = explain(trained, translator, SENTENCE)
    best = translator.hypotheses(SENTENCE)[0]
    model, words_of = trained.model, trained.task.source_dictionary
    with torch.no_grad():
        source_1S = torch.tensor([best.source])
        encoded = model.encoder(source_1S, torch.tensor([len(best.source)]))
        state: dict = {}
        read = [words_of.eos(), *best.target[:-1]]
        steps = []
        for end in range(1, len(read) + 1):
            _, extra = model.decoder(
                torch.tensor([read[:end]]), encoder_out=encoded, incremental_state=state
            )
            steps.append(extra["routing"])
    sides = {side: [one for one in found["pieces"] if one["side"] == side]
             for side in ("source", "target")}  # fmt: skip
    assert [one["text"] for one in sides["source"]] == words_of.string(
        source_1S, extra_symbols_to_ignore=[], include_eos=True
    ).split()
    assert sides["source"][0]["text"] == "<2xx>"
    assert [one["text"] for one in sides["target"]] == [words_of[token] for token in read]

    def expect(shown: dict, layer: str, routing: object, token: int) -> None:
        [own] = [one for one in shown["layers"] if one["layer"] == layer]
        of_token = routing.token_A == token  # type: ignore[attr-defined]
        chosen = dict(zip(
            routing.expert_A[of_token].tolist(), routing.gate_A[of_token].tolist(), strict=True  # type: ignore[attr-defined]
        ))  # fmt: skip
        assert len(chosen) == 2
        assert {one["expert"]: one["gate"] for one in own["experts"]} == pytest.approx(
            chosen, abs=1e-5
        )
        gates = [one["gate"] for one in own["experts"]]
        assert gates == sorted(gates, reverse=True)

    encoder_layers = {layer for layer in encoded["routing"] if layer.startswith("encoder.")}
    decoder_layers = {layer for layer in steps[0] if layer.startswith("decoder.")}
    assert encoder_layers and decoder_layers
    for place, shown in enumerate(sides["source"]):
        assert {one["layer"] for one in shown["layers"]} == encoder_layers
        for layer in encoder_layers:
            expect(shown, layer, encoded["routing"][layer], place)
    for shown, step in zip(sides["target"], steps, strict=True):
        assert {one["layer"] for one in shown["layers"]} == decoder_layers
        for layer in decoder_layers:
            expect(shown, layer, step[layer], 0)


def test_a_word_is_aligned_with_what_has_its_attention() -> None:
    source, target = "one two three", "eins zwei drei ende"
    attention_TS = np.array([
        [0.9, 0.1, 0.0],
        [0.1, 0.4, 0.4],  # of two words equally
        [0.1, 0.3, 0.6],  # half of the most is enough
        [0.0, 0.0, 0.0],  # all of it on the end of the sentence
    ])  # fmt: skip
    aligned = Aligned(target, words(source), words(target), attention_TS)
    assert alignment(aligned, source) == [[0], [1, 2], [1, 2], []]
    assert alignment(Aligned(target), source) == [[]] * 4  # not known


def test_nothing_and_what_is_too_long_have_no_picture(
    trained: TrainedModel, translator: Translator
) -> None:
    assert explain(trained, translator, " \u200b ") == {
        "text": "", "translation": "", "alternatives": [], "source": [], "target": [],
        "alignment": [], "pieces": [],
    }  # fmt: skip
    text = " ".join([SENTENCE] * 5)
    found = explain(trained, translator, text)
    assert found["translation"] == translator([text])[0] != ""
    assert (found["alternatives"], found["pieces"]) == ([], [])
    assert not any(found["alignment"]) and len(found["alignment"]) == len(found["target"])


def test_a_model_in_int8_shows_its_own_experts(checkpoint: Path) -> None:
    small = load(checkpoint, target_lang="xx", int8=True)
    translator = small.translator(beam=2)
    found = explain(small, translator, SENTENCE)
    assert found["translation"] == translator.translate(SENTENCE)
    assert all(layer["experts"] for one in found["pieces"] for layer in one["layers"])
