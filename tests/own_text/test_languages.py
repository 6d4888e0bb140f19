"""``nmt-moe train`` whole, with text in Chinese, in Persian, and in a pair without English."""

import json
import random
import subprocess
from itertools import product
from pathlib import Path

import pytest

from tests import preloaded
from tests.own_text.test_train import train
from tests.recipes import environment

# Of each phrase the English, Chinese and Persian; joiners (U+200C) belong to the Persian.
PHRASES = {
    "who": [
        ("my father", "我父亲", "پدرم"),
        ("my sister", "我姐姐", "خواهرم"),
        ("the teacher", "老师", "معلم"),
        ("the old man", "老人", "پیرمرد"),
        ("our neighbour", "我们的邻居", "همسایه‌مان"),
        ("the doctor", "医生", "دکتر"),
    ],
    "verb": [
        ("buys", "买", "می‌خرد"),
        ("sells", "卖", "می‌فروشد"),
        ("sees", "看见", "می‌بیند"),
        ("wants", "想要", "می‌خواهد"),
        ("finds", "找到", "پیدا می‌کند"),
    ],
    "what": [
        ("a book", "一本书", "یک کتاب"),
        ("bread", "面包", "نان"),
        ("a house", "一座房子", "یک خانه"),
        ("apples", "苹果", "سیب"),
        ("old pictures", "旧照片", "عکس‌های قدیمی"),
        ("a red car", "一辆红色的汽车", "یک ماشین قرمز"),
    ],
    "where": [
        ("at the market", "在市场", "در بازار"),
        ("at the station", "在车站", "در ایستگاه"),
        ("in the city", "在城里", "در شهر"),
        ("near the river", "在河边", "کنار رودخانه"),
    ],
    "when": [
        ("today", "今天", "امروز"),
        ("every morning", "每天早上", "هر صبح"),
        ("tomorrow", "明天", "فردا"),
        ("on Sunday", "星期天", "یکشنبه"),
    ],
}
ORDERS = {
    "en": "{who} {verb} {what} {where} {when}.",
    "zh": "{when}{who}{where}{verb}{what}。",
    "fa": "{who} {when} {where} {what} {verb}.",
}


def sentences(language: str) -> list[str]:
    """Of all combinations, in the order of the other languages."""
    column = [*ORDERS].index(language)
    found = []
    for chosen in product(*PHRASES.values()):
        words = {name: phrase[column] for name, phrase in zip(PHRASES, chosen, strict=True)}
        sentence = ORDERS[language].format_map(words)
        found.append(sentence[0].upper() + sentence[1:])
    return random.Random(1).sample(found, len(found))


@pytest.mark.slow
@pytest.mark.parametrize(("pair", "signature"), [(("zh", "en"), "13a"), (("fa", "zh"), "zh")])
def test_from_text_to_translations(pair: tuple[str, str], signature: str, tmp_path: Path) -> None:
    texts = [sentences(language) for language in pair]
    for language, lines in zip(pair, texts, strict=True):
        (tmp_path / f"text.{language}").write_text("".join(f"{line}\n" for line in lines[:-20]))
    languages = ["--source", pair[0], "--target", pair[1]]
    files = [f"{tmp_path}/text.{language}" for language in pair]
    settings = ("vocabulary=400", "max-tokens=400", "updates=500", "dropout=0")
    options = ["--size", "tiny", "--measure", "0"]
    options += [word for setting in settings for word in ("--set", setting)]
    said = train(*files, "--out", f"{tmp_path}/model", *options, languages=languages)
    assert "warning" not in said, said
    [scored] = json.loads((tmp_path / "model/model.json").read_text())["scores"]
    bleu = scored["scores"]["BLEU"]
    assert bleu["value"] > 75 and f"tok:{signature}" in bleu["signature"], bleu
    words = preloaded.command("nmt-moe", "translate", f"{tmp_path}/model")
    given = "".join(f"{line}\n" for line in texts[0][-20:])
    found = subprocess.run(
        words, env=environment(), input=given, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    right = sum(one == wanted for one, wanted in zip(found, texts[1][-20:], strict=True))
    assert right >= 5, found
