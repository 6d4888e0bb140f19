// What belongs together: pointing at a word, or going to it with the keys, shows it on both sides;
// a click on a sentence shows its other translations.

import { close, isOpen, show } from "./alternatives.js";
import { byId, debounced } from "./dom.js";
import { drawExperts, foldIsOpen, writeFold } from "./experts.js";
import { model, pair } from "./languages.js";
import { itemOf, sentences, write } from "./output.js";
import { lineOf } from "./refusals.js";
import { explain } from "./server.js";
import { announce, follow, say } from "./texts.js";
import { failed } from "./trouble.js";
import { mark, under, wordsAt } from "./typed.js";

const PATIENCE = 120; // milliseconds on a sentence, before the server is asked about it
let asked = new AbortController();
let lit = null; // the sentence that is shown on both sides
let word = -1; // of it, where the keys are
let chosen = 0; // the number of the sentence whose experts are shown

// What the server says of a sentence, asked once.
const ask = async (item) => {
  if (item.explained) return;
  item.asking ??= explain({ q: item.source, ...pair() }, asked.signal).then((found) => {
    item.explained = found;
    if (found.translation === item.translation) write(item, found.target);
    if (lit === item) light(item);
  }).catch((error) => {
    item.asking = null;
    throw error;
  });
  await item.asking;
};

const askQuietly = (item) => ask(item).catch((error) => {
  if (error.name !== "AbortError") announce("");
});

const askSoon = debounced(PATIENCE, askQuietly);

const dark = () => {
  lit?.node.classList.remove("on");
  lit?.node.querySelectorAll(".on").forEach((node) => node.classList.remove("on"));
  lit = null;
  mark(null);
};

// Show a sentence, some words of its translation, and those of its source.
const light = (item, targets = [], sources = []) => {
  if (lit !== item) dark();
  lit = item;
  item.node.classList.add("on");
  for (const node of item.node.querySelectorAll(".word")) {
    node.classList.toggle("on", targets.includes(Number(node.dataset.word)));
  }
  const { explained, place } = item;
  mark(place, place && explained
    ? wordsAt(explained.text ?? item.source, place, sources.map((number) => explained.source[number])) : []);
};

const lightTarget = (item, number) => light(item, [number], item.explained.alignment[number] ?? []);

const lightSource = (item, number) => light(item, item.words
  ? item.explained.alignment.flatMap((found, target) => (found.includes(number) ? [target] : [])) : [], [number]);

// Show what belongs to a place in the text that is typed.
const lightPlace = (offset) => {
  const item = offset === null ? null
    : sentences().find(({ place }) => place && place.start <= offset && offset <= place.end);
  if (!item) {
    dark();
    return;
  }
  if (!item.explained) {
    light(item);
    askSoon(item);
    return;
  }
  const { explained, place } = item;
  const places = wordsAt(explained.text ?? item.source, place, explained.source);
  const number = places.findIndex(({ start, end }) => start <= offset && offset < end);
  if (number < 0) light(item);
  else lightSource(item, number);
};

const drawFold = async () => {
  if (!foldIsOpen()) return;
  const item = sentences()[chosen] ?? sentences()[0];
  if (!item) {
    writeFold(say("noSentence"));
    return;
  }
  try {
    await ask(item);
    if (model()) drawExperts(item.explained, model());
  } catch (error) {
    if (error.name !== "AbortError") writeFold(lineOf(error));
  }
};

const choose = (item) => {
  const number = sentences().indexOf(item);
  if (number < 0 || number === chosen) return;
  chosen = number;
  void drawFold();
};

// By the keys, its reader goes on in the list.
const open = async (item, keys) => {
  if (isOpen(item)) {
    close();
    return;
  }
  choose(item);
  try {
    await ask(item);
    if (item.node.isConnected) show(item, choose, keys && document.activeElement === item.node);
  } catch (error) {
    failed(error, () => open(item, keys));
  }
};

const step = (item, forward) => {
  if (!item.words?.length) {
    void askQuietly(item);
    return;
  }
  word = Math.min(Math.max(word + (forward ? 1 : -1), 0), item.words.length - 1);
  lightTarget(item, word);
  const { alignment, source, text } = item.explained;
  const cut = (whole, { start, end }) => [...whole].slice(start, end).join("");
  const words = alignment[word].map((number) => cut(text ?? item.source, source[number]));
  const own = cut(item.translation, item.words[word]);
  announce(words.length ? say("wordFrom", { word: own, words: words.join(", ") }) : own);
};

const pressed = (event) => {
  const item = itemOf(event.target);
  if (!item || event.target !== item.node) return;
  const right = byId("translation").dir === "rtl";
  if (event.key === "Enter" || event.key === " ") void open(item, true);
  else if (event.key === "ArrowLeft") step(item, right);
  else if (event.key === "ArrowRight") step(item, !right);
  else if (event.key === "Escape") close();
  else return;
  event.preventDefault();
};

// Another translation begins: nothing is known of it, and nothing more to be said of the old one.
export const forget = () => {
  asked.abort();
  asked = new AbortController();
  askSoon.stop();
  close();
  dark();
  for (const item of sentences()) Object.assign(item, { asking: null });
};

// It is there.
export const known = () => void drawFold();

const startTranslation = () => {
  const place = byId("translation");
  place.addEventListener("pointerover", (event) => {
    const item = itemOf(event.target);
    if (!item) return;
    if (!item.explained) askSoon(item);
    const over = /** @type {HTMLElement} */ (event.target);
    if (over.classList.contains("word") && item.words) lightTarget(item, Number(over.dataset.word));
    else light(item);
  });
  place.addEventListener("pointerleave", () => {
    askSoon.stop();
    dark();
  });
  place.addEventListener("focusin", (event) => {
    const item = itemOf(event.target);
    if (!item) return;
    word = -1;
    light(item);
    if (!item.explained) askSoon(item);
  });
  place.addEventListener("focusout", dark);
  place.addEventListener("keydown", pressed);
  place.addEventListener("click", (event) => {
    const item = itemOf(event.target);
    if (item && getSelection().isCollapsed) void open(item, event.detail === 0); // of a screen reader
  });
};

const startTyped = () => {
  const typed = byId("typed");
  let before = null;
  typed.addEventListener("pointermove", (event) => {
    const offset = event.pointerType === "mouse" && event.buttons === 0 ? under(event) : before;
    if (offset === before) return;
    before = offset;
    lightPlace(offset);
  });
  typed.addEventListener("pointerleave", () => {
    before = null;
    askSoon.stop();
    dark();
  });
  typed.addEventListener("blur", dark);
  typed.addEventListener("keyup", (event) => {
    if (/^(Arrow|Home|End|Page)/.test(event.key)) lightPlace(typed.selectionStart);
  });
};

export const startPointing = () => {
  startTranslation();
  startTyped();
  byId("experts").addEventListener("toggle", () => void drawFold());
  follow(() => {
    close();
    void drawFold();
  });
};
