"""The rules of cleaning, pair by pair."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt_moe.corpus.clean.reading import MAX_LINE
from nmt_moe.corpus.clean.rules import INVISIBLE, SPACES, Limits, judge, normalise

# Of category Cf, but with a look of their own: signs around Arabic and Syriac numbers.
VISIBLE = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"

LIMITS = Limits(words=10, characters=100, ratio=2)


@pytest.mark.parametrize(
    ("line", "expected", "changed"),
    [
        ("plain text", "plain text", ()),
        ("  too  many   spaces ", "too many spaces", ()),
        ("a\rb\tc\x0bd", "a b c d", ("special",)),
        ("line end\r", "line end", ("special",)),
        ("12\u00a0000\u202f%\u2009!\u3000", "12 000 % !", ("special",)),
        ("one\u2028two\u2029three", "one two three", ("special",)),
        ("\ufeffze\u200bro\u00adwidth\x00\x7f", "zerowidth", ("special",)),
        ("\x84Nein\x93 \x85", "„Nein“ …", ("special",)),
        ("\x81\x8d", "", ("special",)),
        ("Q&amp;A &lt;b&gt; &#8222;x&#x201C; caf&eacute;", "Q&A <b> „x“ café", ("entities",)),
        ("1&nbsp;000&#10;&shy;x", "1 000 x", ("entities", "special")),
        ("AT&T; R&D &notes; &copy &#; a&b;", "AT&T; R&D &notes; &copy &#; a&b;", ()),
        ("Grüße, œuvre, Łódź, 東京, ✓, 👍", "Grüße, œuvre, Łódź, 東京, ✓, 👍", ()),
    ],
)
def test_what_is_changed(line: str, expected: str, changed: tuple[str, ...]) -> None:
    assert normalise(line) == (expected, changed)


SPELT = [
    "می\u200cخواهم به خانه\u200cها",  # Persian
    "CD\u200cها، ۵\u200cساله",
    "ه\u200d.ق",
    "ශ්\u200dරී ලංකාව",  # Sinhala
    "അവന്\u200d പറഞ്ഞു",  # Malayalam
    "র\u200d্যাব, উৎ\u200cসব",  # Bengali
    "क्\u200dष, क्\u200cष, क्\u200c।",  # Devanagari
    "ಸಾಫ್ಟ್\u200cವೇರ್",  # Kannada
    "ᠨᠢᠭᠡ\u180eᠠ",  # Mongolian
    "👨\u200d👩\u200d👧 👩🏽\u200d⚕\ufe0f 🏳\ufe0f\u200d🌈 ❤\ufe0f\u200d🔥 1\ufe0f\u20e3",
    "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # Scotland
]


@pytest.mark.parametrize("line", SPELT)
def test_what_spelling_needs_stays(line: str) -> None:
    assert normalise(line) == (line, ())
    assert normalise(f"\ufeff{line}\xa0x") == (f"{line} x", ("special",))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Auf\u200clage, a\u200db, до\u200cм, 我\u200d们", "Auflage, ab, дом, 我们"),
        ("\u200cمی می\u200c, \u200d \u200c", "می می,"),
        ("می\u200c\u200cخواهم ی\u200f\u200cخ", "می\u200cخواهم ی\u200cخ"),
        ("👍\u200d 👍\u200dx \u200d👍", "👍 👍x 👍"),
        ("a\U000e0067\U000e007f 🏴\U000e0067 🏴\U000e007f", "a 🏴 🏴"),
        ("ab\u180ec", "abc"),
    ],
)
def test_joiners_where_nothing_joins_are_removed(line: str, expected: str) -> None:
    assert normalise(line) == (expected, ("special",))
    assert normalise(expected) == (expected, ())


def test_characters_are_those_of_unicode() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        category = unicodedata.category(char)
        if category in ("Zs", "Zl", "Zp") or (char.isspace() and char != "\x85"):
            assert char == " " or SPACES.fullmatch(char), hex(code)
            assert not INVISIBLE.match(char)
        elif 0x80 <= code < 0xA0:
            assert normalise(char)[0] == bytes([code]).decode("cp1252", errors="ignore")
        elif category in ("Cc", "Co"):
            assert INVISIBLE.fullmatch(char), hex(code)
        elif category == "Cf":
            seen = char in VISIBLE or 0x110BD <= code <= 0x1D17A
            assert bool(INVISIBLE.fullmatch(char)) != seen, hex(code)
        elif category not in ("Cn", "Cs"):
            assert not INVISIBLE.match(char) and not SPACES.match(char), hex(code)
            assert normalise(char) == (char, ())


@given(st.text())
def test_what_is_left_is_one_line_of_single_spaces(line: str) -> None:
    text, _ = normalise(line)
    assert text == " ".join(text.split())
    assert not SPACES.search(text.replace(" ", "")) and not INVISIBLE.search(text)
    assert text.splitlines() == [text] * bool(text)


def removed(source: str | bytes, target: str | bytes, limits: Limits = LIMITS) -> str | None:
    raw = [side.encode() if isinstance(side, str) else side for side in (source, target)]
    return judge(*raw, limits).removed


@pytest.mark.parametrize(
    ("source", "target", "rule"),
    [
        ("a dog", "ein Hund", None),
        (b"Gr\xfc\xdfe", "greetings", "encoding"),
        ("lost \ufffd", "text", "encoding"),
        ("", "text", "empty"),
        ("text", "\u200b\u00a0", "empty"),
        ("", "", "empty"),
        ("w " * 10, "x " * 10, None),
        ("w " * 11, "x " * 10, "long"),
        ("a" * 100, "b" * 100, None),
        ("a" * 100, "b" * 101, "long"),
        ("w" * MAX_LINE + "w", "x", "long"),
        (b"\xff" * (MAX_LINE + 1), "x", "long"),
        ("x", b"\xff" * (MAX_LINE + 1), "long"),
        ("w", "x y z x y z x", None),  # 2 times 1, and 5
        ("w", "x y z x y z x y", "ratio"),
        ("w" * 10, "x" * 50, None),  # 2 times 10, and 30
        ("w" * 10, "x" * 51, "ratio"),
        ("x" * 51, "w" * 10, "ratio"),
        ("same", " same\u00a0", "identical"),
        ("same", "Same", None),
    ],
)
def test_what_is_removed(source: str | bytes, target: str | bytes, rule: str | None) -> None:
    assert removed(source, target) == rule


def test_another_language_is_the_last_rule() -> None:
    def foreign(source: str, target: str) -> bool:
        return source == "a b"

    assert judge(b"a\xc2\xa0b", b"c", LIMITS, foreign).removed == "language"
    assert judge(b"a b", b"a b", LIMITS, foreign).removed == "identical"
    assert judge(b"a", b"b", LIMITS, foreign).removed is None


# Of each language two sentences that say the same, a short and a longer one.
SHORT, LONG = 0, 1
SAID = {
    "en": ("I am going to the old station now.",
           "Tomorrow morning my sister will go to the market with her friends to buy fish, rice "
           "and vegetables for the whole family."),
    "de": ("Ich gehe jetzt zum alten Bahnhof.",
           "Morgen früh geht meine Schwester mit ihren Freunden auf den Markt, um Fisch, Reis und "
           "Gemüse für die ganze Familie zu kaufen."),
    "zh": ("我现在要去旧车站。", "明天早上我妹妹要和朋友们去市场给全家人买鱼、米和蔬菜。"),
    "ja": ("今から古い駅に行きます。",
           "明日の朝、妹は友達と一緒に市場へ行って、家族みんなのために魚と米と野菜を買います。"),
    "ko": ("나는 지금 옛 역에 갑니다.",
           "내일 아침 여동생은 온 가족을 위해 생선과 쌀과 채소를 사러 친구들과 시장에 갈 것이다."),
    "th": ("ตอนนี้ฉันกำลังไปสถานีเก่า",
           "พรุ่งนี้เช้าน้องสาวของฉันจะไปตลาดกับเพื่อนเพื่อซื้อปลาข้าวและผักให้ทั้งครอบครัว"),
    "lo": ("ດຽວນີ້ຂ້ອຍກຳລັງໄປສະຖານີເກົ່າ",
           "ມື້ອື່ນເຊົ້ານ້ອງສາວຂອງຂ້ອຍຈະໄປຕະຫຼາດກັບໝູ່ເພື່ອຊື້ປາເຂົ້າແລະຜັກໃຫ້ທັງຄອບຄົວ"),
    "km": ("ឥឡូវនេះខ្ញុំទៅស្ថានីយ៍ចាស់។",
           "ព្រឹកស្អែកប្អូនស្រីរបស់ខ្ញុំនឹងទៅផ្សារជាមួយមិត្តភក្តិដើម្បីទិញត្រីអង្ករនិងបន្លែសម្រាប់គ្រួសារទាំងមូល។"),
    "my": ("အခု ငါ ဘူတာဟောင်းကို သွားနေတယ်။",
           "မနက်ဖြန်မနက် ကျွန်မညီမသည် မိသားစုတစ်ခုလုံးအတွက် ငါး၊ ဆန်နှင့် ဟင်းသီးဟင်းရွက်ဝယ်ရန် "
           "သူငယ်ချင်းများနှင့် ဈေးသို့ သွားလိမ့်မည်။"),
    "bo": ("ང་ད་ལྟ་འབབ་ཚུགས་རྙིང་པར་འགྲོ་གི་ཡོད།",
           "སང་ཉིན་ཞོགས་པ་ངའི་སྲིང་མོ་གྲོགས་པོ་དང་མཉམ་དུ་ཁྲོམ་ལ་ཉ་དང་འབྲས་དང་ཚལ་ཉོ་བར་འགྲོ་གི་རེད།"),
    "vi": ("Bây giờ tôi đi đến nhà ga cũ.",
           "Sáng mai em gái tôi sẽ đi chợ với bạn bè để mua cá, gạo và rau cho cả gia đình."),
    "fi": ("Menen nyt vanhalle asemalle.",
           "Huomisaamuna sisareni menee ystäviensä kanssa torille ostamaan kalaa, riisiä ja "
           "vihanneksia koko perheelle."),
    "ar": ("أنا ذاهب الآن إلى المحطة القديمة.",
           "غدا صباحا ستذهب أختي مع صديقاتها إلى السوق لشراء السمك والأرز والخضروات للعائلة كلها."),
    "ta": ("நான் இப்போது பழைய நிலையத்திற்குச் செல்கிறேன்.",
           "நாளை காலை என் தங்கை முழுக் குடும்பத்திற்கும் மீன், அரிசி, காய்கறிகள் வாங்க "
           "நண்பர்களுடன் சந்தைக்குச் செல்வாள்."),
    "am": ("አሁን ወደ አሮጌው ጣቢያ እየሄድኩ ነው።",
           "ነገ ጠዋት እህቴ ለመላው ቤተሰብ ዓሣ፣ ሩዝና አትክልት ለመግዛት ከጓደኞቿ ጋር ወደ ገበያ ትሄዳለች።"),
}  # fmt: skip


@pytest.mark.parametrize("source", SAID)
def test_good_pairs_of_any_two_languages_stay(source: str) -> None:
    for target in SAID.keys() - {source}:
        for left, right in zip(SAID[source], SAID[target], strict=True):
            for times in (1, 4):
                pair = " ".join([left] * times), " ".join([right] * times)
                assert removed(*pair, Limits()) is None, (source, target, *pair)


@pytest.mark.parametrize("source", SAID)
def test_bad_pairs_of_any_two_languages_are_removed(source: str) -> None:
    for target in SAID.keys() - {source}:
        pair = SAID[source][SHORT], SAID[target][LONG] * 2
        assert removed(*pair, Limits()) == "ratio", (source, target)
        assert removed(*reversed(pair), Limits()) == "ratio", (target, source)


def test_a_long_word_may_be_many_words_elsewhere() -> None:
    pair = "Juoksentelisinkohan?", "I wonder if I should run around aimlessly?"
    assert removed(*pair, Limits()) is None
    # Not so numbers and letters in a row.
    assert removed("Inhaltsverzeichnis", "1 2 3 4 5 6 7 8 9 10", Limits()) == "ratio"
    assert removed("Inhaltsverzeichnis", "C O N T E N T S", Limits()) == "ratio"


def test_text_without_spaces_may_be_as_long_as_any_other() -> None:
    line, words = "我现在要去旧车站" * 60, "going to the old station now " * 41
    assert removed(line, words, Limits()) is None  # 480 characters, 246 words
    assert removed(line * 2, words, Limits()) == "long"
    assert removed("ตอนนี้ฉันกำลังไป" * 90, words, Limits()) is None
