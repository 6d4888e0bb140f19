// A text that is longer than the server takes at once, in parts that it takes one after the other.

import { stream } from "./server.js";

// Behind the end of a sentence, of those with spaces between them and of those without.
const ENDS = [/[.!?…][\p{Pe}\p{Pf}"']*(?=\s)/gu, /[。！？][\p{Pe}\p{Pf}]*/gu, /\S(?=\s)/gu];

// What is in the place of the last line, sentence or word that ends within so many characters.
const cut = (text, most) => {
  const head = [...text.slice(0, 2 * (most + 1))].slice(0, most + 1).join("");
  const line = head.lastIndexOf("\n");
  if (line >= 0) return { end: line, next: line + 1, joint: "\n" };
  const within = [...head].slice(0, most).join("").length;
  for (const pattern of ENDS) {
    const ends = [...head.matchAll(pattern)].map((found) => found.index + found[0].length);
    const end = ends.findLast((one) => one <= within);
    if (end) return { end, next: end + text.slice(end).match(/^[^\S\n]*/)[0].length, joint: " " };
  }
  return { end: within, next: within, joint: "" };
};

// Of each part its text, and what is between its translation and the next one's.
export const parts = (text, most) => {
  const found = [];
  let rest = text;
  while (rest.length > most && [...rest.slice(0, 2 * (most + 1))].length > most) {
    const { end, next, joint } = cut(rest, most);
    found.push({ text: rest.slice(0, end), joint });
    rest = rest.slice(next);
  }
  return [...found, { text: rest, joint: "" }];
};

const lineEnds = (text) => text.split("\n").length - 1;

// Of a long text, what was translated: a change at its end does not cost all of it again.
let before = new Map();

const part = async function* (q, given, name, signal) {
  if (!q.trim()) {
    yield { name: "end", data: { text: "\n".repeat(lineEnds(q)) } };
    return;
  }
  const key = JSON.stringify([name, given, q]);
  const events = before.get(key) ?? [];
  yield* events;
  if (events.length) return;
  for await (const event of stream({ q, ...given }, signal)) {
    events.push(event);
    yield event;
  }
  before.set(key, events);
};

// The events of a text's translation, as `stream` gives them for a part of it; `name` is the model's.
export const streamAll = async function* (text, most, given, name, signal) {
  const all = parts(text, most);
  if (all.length === 1) {
    before = new Map();
    yield* stream({ q: text, ...given }, signal);
    return;
  }
  const keys = new Set(all.map((one) => JSON.stringify([name, given, one.text])));
  before = new Map([...before].filter(([key]) => keys.has(key)));
  let line = 0;
  let whole = "";
  for (const one of all) {
    for await (const event of part(one.text, given, name, signal)) {
      if (event.name === "end") whole += event.data.text + one.joint;
      else yield { ...event, data: { ...event.data, line: event.data.line + line } };
    }
    line += lineEnds(one.text) + Number(one.joint === "\n");
  }
  yield { name: "end", data: { text: whole } };
};
