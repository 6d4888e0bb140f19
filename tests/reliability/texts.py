"""Lines that no corpus should hold and some do, the same for the same ``random.Random``."""

import random

from hypothesis import strategies as st

from tests.wmt14_archives import sgm

SENTENCES = [
    "The red dog sees a small cat.",
    "Dr. Müller (45) sagte: „Es gibt ca. 1.234,5 Gründe – z. B. diesen.“",
    "L'été, c'est «\xa0Oui\u202f!\xa0» n'est-ce pas\u202f?",
    "我今天去了北京。你呢？是的！",
    "יש כאן טקסט מימין לשמאל, ו-\u200fEnglish\u200e באמצע.",
    "R&amp;D at AT&T costs &#36;5 &lt;b&gt;now&lt;/b&gt; &quot;really&quot;",
    "नमस्ते दुनिया। कैसे हो॥",
]
SPACES = [*" \t\r\v\f\0\x1a\x1c\x1d\x1e\x1f\x7f\x85\xa0\xad\u1680\u2003\u2028\u2029\u3000"]
INVISIBLE = [
    *"\ufeff\u200b\u200d\u200e\u202a\u202e\u2066\u2069\u061c\ue000\uf8ff\ufff9\ufffd\uffff"
]
MARKS = [*"▁⁇´¨\u0301\u0300\u0489\u20e3\u3099ﬁ½ǅİıßẞ。、！…‥.!?'\"«»()[]{}|\\<>/&;#@%"]
PIECES = ["<s>", "</s>", "<unk>", "<pad>", "<mask>", "<2xx>", "▁▁", "H-0\t", "@@ ", "##AT##-##AT##"]
WIDE = ["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪", "\U000e0041", "\U0010ffff", "𝔘𝔫𝔦", "ﷺ", "Z͑ͫa̴l̡g͈o̶"]
ENTITIES = [
    *("&amp;", "&amp;amp;", "&#0;", "&#10;", "&#xD800;", "&#128;", "&#x110000;", "&#1234567;"),
    *(
        "&#99999999;",
        "&#x;",
        "&#;",
        "&;",
        "&amp",
        "&nbsp;",
        "&NewLine;",
        "&NotEqualTilde;",
        "&#x85;",
    ),
    *("&lt;seg&gt;", "&#x2028;", "&#xFFFE;", "&zwj;", f"&#{'9' * 5000};", f"&#x{'f' * 5000};"),
]
MARKUP = [
    *('<seg id="1">', "<seg>", "<seg", "</seg>", "</seg", "< seg>", "<SEG ID=7>", "<seg id='2'/>"),
    *('<doc docid="a">', "<doc", "</doc>", "<!--", "-->", "<![CDATA[", "<?xml", "<p>", "docid="),
]
BROKEN = [
    b"\xff",
    b"\x80",
    b"\xc3",
    b"\xe2\x80",
    b"\xf0\x9f\x98",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf5",
]
KINDS = (SPACES, INVISIBLE, MARKS, PIECES, WIDE, ENTITIES, MARKUP)


def line(chance: random.Random) -> bytes:
    """A line without line feed: of sentences, oddities and bytes, some of it very long or cut."""
    parts = [_part(chance) for _ in range(chance.choice([0, 1, 1, 2, 3, 5, 9]))]
    joined = chance.choice([b" ", b"", b" "]).join(parts)
    if chance.random() < 0.01:
        joined *= chance.choice([10, 100, 1000])
    if chance.random() < 0.1:
        joined = joined[chance.randrange(len(joined) + 1) :]
    return joined[:20_000].replace(b"\n", b"\r")


def lines(seed: int, number: int) -> list[bytes]:
    """So many lines."""
    chance = random.Random(seed)
    return [line(chance) for _ in range(number)]


def _part(chance: random.Random) -> bytes:
    kind = chance.random()
    if kind < 0.35:
        sentence = [*chance.choice(SENTENCES)]
        for _ in range(chance.choice([0, 0, 1, 3])):
            place = chance.randrange(len(sentence))
            sentence[place : place + chance.randint(0, 2)] = chance.choice(chance.choice(KINDS))
        return "".join(sentence).encode()
    if kind < 0.8:
        return (chance.choice(chance.choice(KINDS)) * chance.choice([1, 1, 1, 2, 30])).encode()
    if kind < 0.9:
        numbers = (chance.randrange(chance.choice([128, 0x3000, 0x110000])) for _ in range(8))
        return "".join(map(chr, numbers)).encode("utf-8", "surrogatepass")
    return chance.choice([chance.choice(BROKEN), chance.randbytes(chance.randint(1, 9))])


def damaged_sgm(chance: random.Random) -> bytes:
    """A file of segments, of which some bytes are cut, doubled, or replaced."""
    texts = [line(chance).decode(errors="replace") for _ in range(chance.randint(1, 6))]
    content = bytearray(sgm(texts, documents=chance.randint(1, 3)))
    for _ in range(chance.choice([0, 1, 1, 2, 5])):
        start = chance.randrange(len(content) + 1)
        end = min(start + chance.choice([1, 3, 10, 100]), len(content))
        other = [b"", content[start:end] * 2, _part(chance), chance.choice(MARKUP).encode()]
        content[start:end] = chance.choice(other)
    return bytes(content)


CHANCE = st.randoms(use_true_random=False)
LINE = st.one_of(
    st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"\r")),
    st.text(max_size=40).map(lambda text: text.encode().replace(b"\n", b"\r")),
    CHANCE.map(line),
)
LINES = st.lists(LINE, min_size=1, max_size=30)
