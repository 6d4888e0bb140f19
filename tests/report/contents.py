"""Made-up contents of reports, of the size and the kind that a trained model gives."""

import math
import random
from typing import Any

WORDS = """the a of to in and is was for on with as by at from that this it he she we they not
are were has had will would could one two three new old small great red green blue white black
man woman child dog horse street river station market bridge garden school hospital doctor
teacher driver ticket train bus airport flight hotel room key breakfast bread cheese apple
coffee water price euro bank account card money rent winter summer morning evening Monday Friday
January report meeting office letter question answer window table phone computer language music
football game player team goal government election president minister court law police war peace
island mountain weather rain snow sun wind running walking eating drinking sitting standing
looking buying selling opening closing quickly slowly always never again perhaps there where
when which because although before after under over between without against through
during""".split()
LABELS = ["bank", "hotel", "station", "market", "weather"]
ENDINGS = ["s", "ing", "ed", "er", "ly"]


def pieces(chance: random.Random, words: int) -> list[str]:
    """A line as wordpieces; some words have two."""
    found = []
    for word in chance.choices(WORDS, k=words):
        found.append("▁" + word)
        if chance.random() < 0.15:
            found.append(chance.choice(ENDINGS))
    return found


def text(parts: list[str]) -> str:
    return "".join(parts).replace("▁", " ")


def content(
    experts: int = 32,
    groups: int | None = None,
    k: int = 4,
    layers: tuple[str, ...] = ("encoder.2", "decoder.1"),
    seed: int = 1,
    labels: bool = True,
    checkpoint: str = "data/run/training/checkpoint_best.pt",
) -> dict[str, Any]:
    """The content of a translation model's report; dense without ``layers``."""
    chance = random.Random(seed)
    lines = [pieces(chance, chance.randint(12, 32)) for _ in range(3000)]
    found = [_layer(chance, lines, name, experts, groups, k, labels) for name in layers]
    sentences = [_sentence(chance, found) for _ in range(4)]
    return {
        "checkpoint": checkpoint,
        "arch": "lstm_moe_base" if layers else "lstm_dense_base",
        "task": "translation",
        "languages": ["en", "de"],
        "updates": 2400,
        "model": _model(found),
        "data": {
            "name": "data/run/binary/valid",
            "sentences": 3000,
            "source_tokens": 70_312,
            "target_tokens": 74_001,
            "perplexity": 6.0 + chance.random(),
            "labels": LABELS if labels else None,
        },
        "layers": found,
        "sentences": sentences,
    }


def language_model(**options: Any) -> dict[str, Any]:
    """The content of a language model's report: no source, no attention."""
    made = content(layers=("decoder.1",), **options)
    made |= {"task": "language_modeling", "languages": None, "arch": "lstm_moe_lm_base"}
    made["data"]["source_tokens"] = 0
    made["model"]["stacks"] = made["model"]["stacks"][1:]
    for sentence in made["sentences"]:
        sentence |= {"source": [], "attention": None}
    return made


def _layer(
    chance: random.Random,
    lines: list[list[str]],
    name: str,
    experts: int,
    groups: int | None,
    k: int,
    labels: bool,
) -> dict[str, Any]:
    tokens = sum(map(len, lines))
    weights = [chance.lognormvariate(0, 0.6) for _ in range(experts)]
    weights[experts // 2] = 0.0  # a dead one
    assignments = tokens * k
    counts = [int(assignments * weight / sum(weights)) for weight in weights]
    counts[0] += assignments - sum(counts)
    importance = [count / k * chance.uniform(0.8, 1.2) for count in counts]
    return {
        "name": name,
        "gating": "noisy_top_k",
        "experts": experts,
        "k": k,
        "groups": groups,
        "tokens": tokens,
        "assignments": assignments,
        "counts": counts,
        "importance": importance,
        "importance_cv": _cv(importance),
        "load_cv": _cv(counts),
        "max_over_mean": max(counts) * experts / assignments,
        "dead": counts.count(0),
        "entropy": math.log2(k) * 0.8,
        "top_share": max(counts) / assignments,
        "information": {
            "wordpiece": {"bits": 1.93, "shuffled": 0.04, "entropy": 7.1, "experts_entropy": 4.6},
            "label": {"bits": 0.21, "shuffled": 0.002, "entropy": 2.3, "experts_entropy": 4.6}
            if labels
            else None,
        },
        "details": [
            _expert(chance, lines, experts, labels)
            if counts[number]
            else {
                "contexts": [],
                "typical": [],
                "labels": [] if labels else None,
                "nearest": [],
            }
            for number in range(experts)
        ],
    }


def _cv(values: list[Any]) -> float:
    average = sum(values) / len(values)
    return math.sqrt(sum((v - average) ** 2 for v in values) / len(values)) / average


def _expert(
    chance: random.Random, lines: list[list[str]], experts: int, labels: bool
) -> dict[str, Any]:
    contexts = []
    for line in chance.sample(lines, 8):
        at = chance.randrange(len(line))
        before, after = text(line[:at]).lstrip(), text(line[at + 1 :])
        gate = round(chance.uniform(0.3, 0.99), 6)
        contexts.append({"gate": gate, "before": before, "token": line[at], "after": after})
    contexts.sort(key=lambda found: -found["gate"])
    typical = [
        {
            "token": "▁" + word,
            "count": chance.randint(2, 400),
            "share": chance.uniform(0.01, 0.2),
            "base": chance.uniform(0.001, 0.01),
        }
        for word in chance.sample(WORDS, 10)
    ]
    return {
        "contexts": contexts,
        "typical": typical,
        "labels": [
            {"label": label, "share": chance.random(), "base": 1 / len(LABELS)} for label in LABELS
        ]
        if labels
        else None,
        "nearest": [
            {"expert": chance.randrange(experts), "similarity": chance.uniform(0.2, 0.9)}
            for _ in range(5)
        ],
    }


def _sentence(chance: random.Random, layers: list[dict[str, Any]]) -> dict[str, Any]:
    source, target = pieces(chance, 12), ["</s>", *pieces(chance, 11)]
    attention = []
    for row in range(len(target)):
        scores = [math.exp(-abs(row - column) + chance.random()) for column in range(len(source))]
        attention.append([score / sum(scores) for score in scores])
    return {
        "source": source,
        "target": target,
        "predicted": [*target[1:], "</s>"],
        "attention": attention,
        "experts": {
            layer["name"]: [
                _gates(chance, layer["experts"], layer["k"])
                for _ in (source if layer["name"].startswith("encoder") else target)
            ]
            for layer in layers
        },
    }


def _gates(chance: random.Random, experts: int, k: int) -> list[list[float]]:
    weights = sorted((chance.random() ** 2 for _ in range(k)), reverse=True)
    chosen = chance.sample(range(experts), k)
    return [[e, w / sum(weights)] for e, w in zip(chosen, weights, strict=True)]


def _model(layers: list[dict[str, Any]]) -> dict[str, Any]:
    def lstm(number: int, kind: str = "lstm", detail: str = "512 wide") -> dict[str, Any]:
        size = {"parameters": 2_101_248, "active": 2_101_248, "layer": None}
        return {"kind": kind, "label": f"LSTM {number}", "detail": detail} | size

    def after(name: str) -> list[dict[str, Any]]:
        for layer in layers:
            if layer["name"] == name:
                size = layer["experts"] * 1_050_624
                active = layer["k"] * 1_050_624
                what = {"kind": "experts", "label": f"{layer['experts']:,} experts"}
                groups = f" in {layer['groups']} groups" if layer["groups"] else ""
                detail = f"{layer['k']} of {layer['experts']:,}{groups} for each token"
                return [
                    what | {"detail": detail, "parameters": size, "active": active, "layer": name}
                ]
        size = {"parameters": 4_202_496, "active": 4_202_496, "layer": None}
        return [{"kind": "dense", "label": "Feed-forward", "detail": "4,096 wide"} | size]

    def embedding(side: str) -> dict[str, Any]:
        size = {"parameters": 4_096_000, "active": 0, "layer": None}
        return {"kind": "embedding", "label": "Embedding", "detail": f"8,000 {side} pieces"} | size

    softmax = {"kind": "softmax", "label": "Softmax", "detail": "8,000 pieces, shared matrix"}
    stacks = [
        {
            "name": "encoder",
            "blocks": [
                embedding("source"),
                lstm(1, detail="512 wide, both directions"),
                lstm(2),
                *after("encoder.2"),
                lstm(3),
            ],
        },
        {
            "name": "decoder",
            "blocks": [
                embedding("target"),
                lstm(1, "attention_lstm", "512 wide, attention over the encoder"),
                *after("decoder.1"),
                lstm(2),
                softmax | {"parameters": 4_104_000, "active": 4_104_000, "layer": None},
            ],
        },
    ]
    ops = {"lstm": 10_485_760, "experts": 8_388_608 if layers else 0, "gates": 65_536}
    ops |= {"dense_feed_forward": 0 if layers else 8_388_608, "attention": 524_288}
    ops |= {"softmax": 4_096_000}
    return {
        "parameters": sum(b["parameters"] for stack in stacks for b in stack["blocks"]),
        "parameters_active": 18_900_000,
        "ops_per_timestep": sum(ops.values()),
        "ops": ops,
        "stacks": stacks,
    }
