// The text that is typed. A copy of it lies behind, with marks that a field of text cannot have.

import { byId, el, untilClosed } from "./dom.js";
import { parts } from "./parts.js";
import { follow, say } from "./texts.js";

const LONG = 400; // characters, from which on they are smaller
let marks = [];
let right = false; // whether its language runs from right to left
let most = Infinity; // characters that are translated at once

export const text = () => byId("typed").value;

const draw = () => {
  const whole = text();
  const nodes = [];
  let done = 0;
  for (const { start, end, kind } of marks) {
    if (start < done) continue;
    nodes.push(whole.slice(done, start), el("mark", { class: kind }, whole.slice(start, end)));
    done = end;
  }
  // The last line of a field has its height, even if there is nothing on it.
  byId("mirror").replaceChildren(...nodes, `${whole.slice(done)}\u200b`);
};

// Mark a sentence, except for some words in it, which are marked more.
export const mark = (sentence, words = []) => {
  marks = [];
  let done = sentence?.start ?? 0;
  for (const word of [...words].sort((a, b) => a.start - b.start)) {
    if (sentence && word.start > done) marks.push({ start: done, end: word.start, kind: "sentence-on" });
    marks.push({ ...word, kind: "word-on" });
    done = word.end;
  }
  if (sentence && sentence.end > done) marks.push({ start: done, end: sentence.end, kind: "sentence-on" });
  draw();
};

const SPACE = /[\s\p{C}]/u;

const TRIES = 200; // places in which a sentence is looked for

const isSpace = (whole, at) => SPACE.test(String.fromCodePoint(whole.codePointAt(at)));

// Where these letters end, if they begin here, whatever white space is between them.
const endOf = (letters, whole, first) => {
  let at = first;
  for (const letter of letters) {
    while (at < whole.length && isSpace(whole, at)) at += whole.codePointAt(at) > 0xffff ? 2 : 1;
    if (!whole.startsWith(letter, at)) return null;
    at += letter.length;
  }
  return at;
};

// Where a sentence is in the text, from a place on; null: it was cleaned so that it is not there.
export const find = (sentence, from) => {
  const whole = text();
  const letters = [...sentence].filter((char) => !SPACE.test(char));
  if (!letters.length) return null;
  let first = whole.indexOf(letters[0], from);
  for (let tries = 0; first >= 0 && tries < TRIES; tries += 1) {
    const end = endOf(letters, whole, first);
    if (end !== null) return { start: first, end };
    first = whole.indexOf(letters[0], first + 1);
  }
  return null;
};

// Where words of a sentence that lies at a place are in the text; they count characters.
export const wordsAt = (sentence, place, words) => {
  const whole = text().slice(place.start, place.end);
  const at = []; // of each character of the sentence
  let done = 0;
  for (const char of sentence) {
    const found = SPACE.test(char) ? -1 : whole.indexOf(char, done);
    at.push(place.start + (found < 0 ? done : found));
    if (found >= 0) done = found + char.length;
  }
  at.push(place.start + done);
  return words.map(({ start, end }) => {
    const last = [...sentence][end - 1] ?? "";
    return { start: at[start], end: at[end - 1] + last.length };
  });
};

// The place in the text under the pointer; null where the browser does not say.
export const under = (event) => {
  const found = document.caretPositionFromPoint?.(event.clientX, event.clientY);
  return found?.offsetNode === byId("typed") ? found.offset : null;
};

export const sized = () => {
  const long = text().length > LONG;
  for (const id of ["typed", "mirror", "translation"]) byId(id).classList.toggle("long", long);
  for (const id of ["typed", "mirror"]) byId(id).dir = text() === "" && right ? "rtl" : "auto";
  byId("clear").hidden = text() === "";
  const characters = say("characters", { count: [...text()].length });
  const count = parts(text(), most).length;
  byId("count").textContent = text() === "" ? ""
    : count === 1 ? characters : say("inParts", { characters, count });
};

// The text is translated in parts of so many characters.
export const limit = (characters) => {
  most = characters;
  sized();
};

export const limited = () => most;

// The language that is chosen for it; each of its lines stands as its own letters do.
export const speak = (language, rightToLeft) => {
  right = rightToLeft;
  for (const id of ["typed", "mirror"]) byId(id).lang = language;
  sized();
};

const keep = () => untilClosed.set("text", text());

export const put = (value) => {
  byId("typed").value = value;
  keep();
  marks = [];
  draw();
  sized();
};

// `change` is called when the text is another one.
export const startTyped = (change) => {
  put(untilClosed.get("text") ?? ""); // as it was before the page was loaded anew
  follow(sized);
  byId("typed").addEventListener("input", () => {
    keep();
    mark(null);
    sized();
    change();
  });
  byId("clear").addEventListener("click", () => {
    put("");
    change();
    byId("typed").focus();
  });
};
