import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt_moe.report.experts.contexts import AROUND, TopContexts
from nmt_moe.report.experts.layer import Side
from nmt_moe.report.experts.text import Spelling
from tests.report.experts import dictionary

WORDS = dictionary()
EXPERTS, SIZE = 3, 2


def random_lines(rng: np.random.Generator) -> list[tuple[list[int], list[tuple[int, int, float]]]]:
    """Lines of tokens, each with assignments of place, expert and gate; many gates are equal."""
    lines = []
    for _ in range(rng.integers(1, 12)):
        tokens = rng.integers(4, len(WORDS), rng.integers(1, 20)).tolist()
        given_ = [
            (place, expert, float(rng.integers(1, 5)) / 4)
            for place in range(len(tokens))
            for expert in rng.choice(EXPERTS, rng.integers(0, EXPERTS), replace=False)
        ]
        lines.append((tokens, given_))
    return lines


def streamed(lines, groups: list[list[int]]) -> list[list[dict]]:
    top = TopContexts(EXPERTS, SIZE, WORDS.pad())
    for group in groups:
        width = max(len(lines[number][0]) for number in group)
        tokens_BL = np.full((len(group), width), WORDS.pad())
        rows = []
        for row, number in enumerate(group):
            tokens, assigned = lines[number]
            tokens_BL[row, : len(tokens)] = tokens
            rows += [(expert, gate, row, place) for place, expert, gate in assigned]
        rows.sort(key=lambda row: row[0])
        expert, gate, sentence, place = (
            map(np.array, zip(*rows, strict=True)) if rows else [np.zeros(0, int)] * 4
        )
        top.add(expert, gate.astype(float), sentence, place, np.array(group), tokens_BL)
    return top.content(Spelling(WORDS))


def naive(lines) -> list[list[dict]]:
    found = []
    for wanted in range(EXPERTS):
        best = []
        for number, (tokens, assigned) in enumerate(lines):
            of_line = [(-gate, place) for place, expert, gate in assigned if expert == wanted]
            if of_line:
                best.append((min(of_line)[0], number, min(of_line)[1], tokens))
        contexts = []
        for gate, _, place, tokens in sorted(best)[:SIZE]:
            words = [WORDS[token] for token in tokens]
            contexts.append({
                "gate": -gate,
                "before": " ".join(words[max(0, place - AROUND) : place]),
                "token": words[place],
                "after": "".join(f" {word}" for word in words[place + 1 : place + 1 + AROUND]),
            })  # fmt: skip
        found.append(contexts)
    return found


@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1), st.randoms())
def test_the_highest_gates_one_of_each_line_in_any_batches(seed, chance) -> None:
    lines = random_lines(np.random.default_rng(seed))
    expected = naive(lines)
    for _ in range(3):
        order = list(range(len(lines)))
        chance.shuffle(order)
        groups = []
        while order:
            size = chance.randint(1, 4)
            groups.append(order[:size])
            order = order[size:]
        assert streamed(lines, groups) == expected


def test_rows_of_a_routing_are_real_tokens_step_by_step() -> None:
    pad = WORDS.pad()
    tokens_BL = np.array([[5, 6, 7], [8, pad, pad], [9, 10, pad]])
    side = Side.of(tokens_BL, pad, np.arange(3), None)
    assert side.tokens_BL[side.sentence_T, side.position_T].tolist() == [5, 8, 9, 6, 10, 7]
    flat = torch.from_numpy(tokens_BL).t().reshape(-1)  # as the models see it
    assert flat[flat != pad].tolist() == [5, 8, 9, 6, 10, 7]
