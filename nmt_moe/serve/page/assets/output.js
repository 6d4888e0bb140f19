// The translation: lines of sentences, each a node that stays while its text does.

import { byId, el } from "./dom.js";
import { find } from "./typed.js";

// Each has its source, its translation as it is shown, the place of its source, and its node.
/** @type {any[]} */
let items = [];
let lines = [];
let received = 0; // of the translation that is coming; those after them are of the one before
let from = 0; // the end of the source of the last one
let whole = "";
let complete = false; // whether what is shown is all of the text that it was made from

const place = () => byId("translation");

export const sentences = () => items.slice(0, received);

// Whether it can be copied.
export const isComplete = () => complete;

export const itemOf = (node) => {
  const found = node instanceof Element ? node.closest(".sentence") : null;
  return found ? items.find((item) => item.node === found) ?? null : null;
};

// Of a translation to be copied: with the alternatives that were chosen.
export const result = () => (items.some((item) => item.translation !== item.original)
  ? lines.map((line) => [...line.childNodes]
    .filter((node) => node.nodeType === Node.TEXT_NODE || node.classList.contains("sentence"))
    .map((node) => node.textContent).join("")).join("\n")
  : whole);

const lineOf = (number) => {
  while (lines.length <= number) {
    const line = el("div", { class: "line" });
    lines.push(line);
    place().append(line);
  }
  return lines[number];
};

const cutFrom = (first) => {
  for (const item of items.splice(first)) {
    item.space?.remove();
    item.node.remove();
  }
};

// Text, or words that one can point at.
export const write = (item, words = null) => {
  const { translation, node } = item;
  item.words = words;
  if (!words) {
    node.textContent = translation;
    return;
  }
  const chars = [...translation];
  const nodes = [];
  let done = 0;
  words.forEach(({ start, end }, number) => {
    nodes.push(chars.slice(done, start).join(""),
      el("span", { class: "word", "data-word": number }, chars.slice(start, end).join("")));
    done = end;
  });
  node.replaceChildren(...nodes, chars.slice(done).join(""));
};

// What is shown belongs to a text that is no more.
export const fade = () => {
  complete = false;
  for (const item of items) item.node.classList.add("stale");
};

export const begin = () => {
  received = 0;
  from = 0;
  whole = "";
  fade();
};

export const add = ({ line, source, translation }) => {
  if (items[received]?.line !== line) cutFrom(received);
  let item = items[received];
  if (!item) {
    const node = el("span", {
      class: "sentence", role: "button", tabindex: 0, "aria-expanded": "false", "aria-describedby": "keys",
    });
    const space = items[received - 1]?.line === line ? document.createTextNode(" ") : null;
    item = { line, node, space };
    lineOf(line).append(...[space, node].filter(Boolean));
    items.push(item);
  }
  const same = item.source === source && item.original === translation;
  if (!same) {
    Object.assign(item, { source, translation, original: translation, explained: null });
    write(item);
  }
  item.node.classList.remove("stale");
  item.place = find(source, from);
  from = item.place?.end ?? from;
  received += 1;
};

// The whole text also says what is between the sentences.
export const end = (text) => {
  cutFrom(received);
  whole = text;
  complete = true;
  const wanted = text.split("\n");
  lineOf(wanted.length - 1);
  for (const line of lines.splice(wanted.length)) line.remove();
  const ends = new Map(); // of the last sentence in each line
  for (const item of items) {
    const line = wanted[item.line] ?? "";
    const before = ends.get(item.line) ?? 0;
    const at = line.indexOf(item.original, before);
    if (item.space && at >= 0) item.space.data = line.slice(before, at);
    ends.set(item.line, at < 0 ? before : at + item.original.length);
  }
};

export const clear = () => {
  items = [];
  lines = [];
  received = 0;
  whole = "";
  complete = false;
  place().replaceChildren();
};
