"""Texts and files of requests, translated by the models' processes."""

import asyncio
import base64
import io
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmt_moe.common.errors import UserError
from nmt_moe.serve.process import Between, Model
from nmt_moe.serve.settings import Refused
from nmt_moe.serve.text import Cutter, together, whole
from nmt_moe.trained.alignment import Aligned
from nmt_moe.trained.search import BUFFER_LINES
from nmt_moe.trained.text import cleaned
from nmt_moe.translate.documents.forms import Encoded, NotText, document
from nmt_moe.translate.documents.translating import Documents

_LONG = 1000
"""Characters of a text that another thread cuts, so that other requests go on."""

Parts = list[list[str]]


@dataclass(frozen=True)
class Translated:
    """A text, and other translations that the beam held, the better ones first."""

    text: str
    alternatives: list[str]


class Translating:
    """What translates for requests: one model between two languages.

    Args:
        model: is open.
        between: source and target language.
    """

    def __init__(self, model: Model, between: Between) -> None:
        self._model, self._between = model, between

    async def text(self, text: str, alternatives: int = 0) -> Translated:
        """Translate a text, line by line.

        Raises:
            Refused: the model's process has ended.
        """
        cutter = await self._cutter()
        lines, parts = await _cut(cutter, text)
        contents = [((part, 1 + alternatives), len(part)) for some in parts for part in some]
        with self._work("parts", contents) as found:
            translated = iter(await asyncio.gather(*found))
        # Of each sentence, of each part, the translations.
        of_sentences = iter([[next(translated) for _ in some] for some in parts])
        ranked = [[next(of_sentences) for _ in line] for line in lines]
        texts = [
            together([[whole(sentence, rank) for sentence in line] for line in ranked])
            for rank in range(1 + alternatives)
        ]
        first, *others = dict.fromkeys(texts)
        return Translated(first, others)

    async def sentences(self, text: str) -> AsyncGenerator[dict[str, Any], None]:
        """Translate a text; gives its sentences in their order as soon as they are ready, and at
        the end ``{"text": ...}``.

        Raises:
            Refused: the model's process has ended.
        """
        cutter = await self._cutter()
        lines, parts = await _cut(cutter, text)
        contents = [((part, 1), len(part)) for some in parts for part in some]
        with self._work("parts", contents, in_order=True) as found:
            coming = iter(found)
            translated: list[list[str]] = []
            index = 0
            for number, line in enumerate(lines):
                translated.append([])
                for sentence in line:
                    best = whole([await next(coming) for _ in parts[index]])
                    translated[-1].append(best)
                    yield {
                        "index": index,
                        "line": number,
                        "source": sentence,
                        "translation": best,
                    }
                    index += 1
        yield {"text": together(translated)}

    async def explained(self, text: str) -> dict[str, Any]:
        """What the model did with a sentence.

        Raises:
            Refused: it is too long, or empty.
        """
        cutter = await self._cutter()
        sentence = cleaned(text)
        parts = cutter.parts(sentence)
        if not parts:
            raise Refused(400, "q has no words to explain", "no_words")
        if len(parts) > 1:
            error = "q is too long a sentence to be explained: give a part of it"
            raise Refused(400, error, "sentence_too_long")
        with self._work("explain", [(sentence, len(parts[0]))]) as [found]:
            explained: dict[str, Any] = await found
        return explained

    async def hypertext(self, text: str, pool: ThreadPoolExecutor) -> Translated:
        """Translate HTML, whose markup stays.

        Raises:
            Refused: the model's process has ended.
        """
        found = await self.file(text.encode(), "html", (), "q", pool)
        return Translated(found.decode(), [])

    async def file(
        self, content: bytes, form: str, columns: Sequence[str], name: str, pool: ThreadPoolExecutor
    ) -> bytes:
        """Translate a file as ``nmt-moe translate`` does.

        Args:
            content: of the file.
            form: such as ``markdown``.
            columns: of TSV.
            name: of the file, for errors.
            pool: whose thread cuts the file and puts it together.

        Raises:
            Refused: it is no text, or does not have this form.
        """
        cutter = await self._cutter()
        loop = asyncio.get_running_loop()
        waiting: list[Any] = []
        gone = False

        def translate(sentences: list[str]) -> list[Aligned]:
            if gone:
                raise Refused(503, "the request is gone", "unavailable")
            asked = asyncio.run_coroutine_threadsafe(self._aligned(cutter, sentences), loop)
            waiting[:] = [asked]
            return asked.result()

        def work() -> bytes:
            try:
                return b"".join(_file(content, form, columns, name, translate, cutter))
            except UserError as error:
                # Beside its bytes, the columns of TSV are all that can be wrong.
                code = "encoding" if isinstance(error, NotText) else "column"
                raise Refused(400, " ".join(str(error).split()), code) from None

        try:
            return await loop.run_in_executor(pool, work)
        finally:
            gone = True
            for asked in waiting:
                asked.cancel()

    async def _aligned(self, cutter: Cutter, sentences: list[str]) -> list[Aligned]:
        parts = [cutter.parts(sentence) for sentence in sentences]
        single = [n for n, some in enumerate(parts) if len(some) == 1]
        several = [n for n, some in enumerate(parts) if len(some) > 1]
        result = [Aligned("")] * len(sentences)
        contents = [(sentences[n], len(parts[n][0])) for n in single]
        cut = [((part, 1), len(part)) for n in several for part in parts[n]]
        with self._work("aligned", contents) as found, self._work("parts", cut) as found_parts:
            whole_ones, others = await asyncio.gather(
                asyncio.gather(*found), asyncio.gather(*found_parts)
            )
        for number, packed in zip(single, whole_ones, strict=True):
            result[number] = _unpacked(packed)
        coming = iter(others)
        for number in several:
            result[number] = Aligned(whole([next(coming) for _ in parts[number]]))
        return result

    async def _cutter(self) -> Cutter:
        return await self._model.cutter(self._between)

    @contextmanager
    def _work(
        self, kind: str, contents: Sequence[tuple[Any, int]], in_order: bool = False
    ) -> Iterator[list[asyncio.Future[Any]]]:
        """Work that stops costing when the request is gone."""
        job, found = self._model.submit((kind, *self._between), contents, in_order)
        try:
            yield found
        finally:
            self._model.drop(job)
            for one in found:
                one.cancel()


async def _cut(cutter: Cutter, text: str) -> tuple[list[list[str]], list[Parts]]:
    """The sentences of each line, and the parts of each sentence."""

    def cut() -> tuple[list[list[str]], list[Parts]]:
        lines = cutter.lines(text)
        return lines, [cutter.parts(sentence) for line in lines for sentence in line]

    return cut() if len(text) <= _LONG else await asyncio.to_thread(cut)


def _file(
    content: bytes,
    form: str,
    columns: Sequence[str],
    name: str,
    translate: Callable[[list[str]], list[Aligned]],
    cutter: Cutter,
) -> Iterator[bytes]:
    read = Encoded(io.BytesIO(content), name)
    yield read.mark
    documents = Documents(translate, cutter.sentences, None, BUFFER_LINES)
    for text, _ in documents(document(form, read.lines(), columns, name)):
        yield text.encode(read.encoding)


def _unpacked(packed: dict[str, Any]) -> Aligned:
    attention = np.frombuffer(base64.b64decode(packed["attention"]), "<f8")
    return Aligned(
        packed["text"],
        [(start, end) for start, end in packed["source"]],
        [(start, end) for start, end in packed["target"]],
        attention.reshape(packed["shape"]),
    )
