// All experts of a layer in a table that sorts and searches; only one page of rows is in the document.

import { timesMean } from "./balance.js";
import { choices, chunks, collator, debounced, el, figure, missing, number, percent, plural, section } from "./base.js";
import { store } from "./data.js";

const ROWS = 25;
export const WORD = /▁/g; // begins a word in wordpieces

export const BYTE = /^<0x[0-9A-F]{2}>$/; // of a character that is no piece

// Whether a space stands before a piece: it begins a word, is special, or all pieces are words.
export const apart = (piece) =>
  piece.startsWith("▁") || (/^<.+>$/.test(piece) && !BYTE.test(piece)) || !store.wordpieces;

// The contexts of an expert: gate, and the text before the token, the token, the text after it.
export const contextsOf = (layer, expert) =>
  chunks(layer.details.contexts[expert], 4).map(([gate, line, start, length]) => {
    const text = store.lines[line];
    const token = text.slice(start, start + length);
    const gap = apart(token) && start > 0 ? " " : "";
    return {
      gate, token: token.replace(WORD, " ").trim() || token,
      before: text.slice(0, start).replace(WORD, " ") + gap,
      after: text.slice(start + length).replace(WORD, " "),
    };
  });

export const typicalOf = (layer, expert) =>
  chunks(layer.details.typical[expert], 4).map(([piece, count, share, base]) =>
    ({ token: store.pieces[piece], count, share, base }));

export const labelsOf = (layer, expert) =>
  chunks(layer.details.labels[expert], 3).map(([label, share, base]) =>
    ({ label: store.pieces[label], share, base }));

const topLabel = (layer, expert) =>
  labelsOf(layer, expert).sort((a, b) => b.share - a.share)[0];

const ELLIPSIS = 45; // characters before the token, so that it stays in sight

export const marked = ({ before, token, after }, limit = Infinity) => el("span", { class: "context", dir: "auto" },
  before.length > limit ? `… ${before.slice(-limit).replace(/^\S*\s/, "")}` : before,
  el("mark", {}, token), after);

export const expertLink = (view, layer, expert, text = String(expert)) =>
  el("a", { href: `#expert/${view.index}/${layer.name}/${expert}` }, text);

const compare = (a, b) => (typeof a === "string" ? collator.compare(a, b) : a - b);

// A column: its title, what it sorts by (null is last), its cell, whether it is one of figures, of
// which the largest come first.
/** @returns {any[][]} */
const columnsOf = (view, layer, hasLabels) => {
  const load = timesMean(layer.counts);
  const tokens = layer.details.typical.map((_, i) => typicalOf(layer, i).slice(0, 3).map((t) => t.token));
  const size = layer.groups ? layer.experts / layer.groups : 0;
  const label = (expert) => topLabel(layer, expert);
  return [
    ["Expert", (i) => i, (i) => expertLink(view, layer, i), false],
    layer.groups ? ["Group", (i) => Math.floor(i / size), (i) => number(Math.floor(i / size)), false] : null,
    ["Load", (i) => layer.counts[i], (i) => number(layer.counts[i]), true],
    ["× mean", (i) => load[i], (i) => number(load[i], 2), true],
    ["Importance", (i) => layer.importance[i], (i) => figure(layer.importance[i]), true],
    ["Top gate", (i) => layer.details.contexts[i][0] ?? null,
      (i) => number(layer.details.contexts[i][0], 2), true],
    ["Typical tokens", (i) => tokens[i][0] ?? null,
      (i) => el("span", { class: "tokens" }, tokens[i].map((token) => el("span", { class: "piece" }, token))), false],
    hasLabels ? ["Top label", (i) => label(i)?.label ?? null,
      (i) => (label(i) ? `${label(i).label} ${percent(label(i).share, 0)}` : missing), false] : null,
    ["Context", null, null, false],
  ].filter(Boolean);
};

// The experts that a search finds, each with the number of the context that it is found in.
// Lines and pieces are searched once, not once for each expert that has them.
let lowered = null;

const matches = (layer, query) => {
  lowered ??= { lines: store.lines.map((line) => line.replace(WORD, " ").toLowerCase()),
    pieces: store.pieces.map((piece) => piece.toLowerCase()) };
  const wanted = query.toLowerCase();
  const inLine = lowered.lines.map((line) => line.includes(wanted));
  const inPiece = lowered.pieces.map((piece) => piece.includes(wanted));
  const hits = new Map();
  for (let expert = 0; expert < layer.experts; expert++) {
    const contexts = layer.details.contexts[expert], typical = layer.details.typical[expert];
    let hit = -1;
    for (let i = 0; i < contexts.length / 4 && hit < 0; i++) if (inLine[contexts[4 * i + 1]]) hit = i;
    let known = hit >= 0;
    for (let i = 0; i < typical.length && !known; i += 4) known = inPiece[typical[i]];
    if (known) hits.set(expert, Math.max(hit, 0));
  }
  return hits;
};

const expertTable = (view, layer) => {
  const hasLabels = layer.details.labels.some((labels) => labels.length);
  const columns = columnsOf(view, layer, hasLabels);
  const state = { column: columns.findIndex(([title]) => title === "Load"), falling: true, page: 0, query: "" };
  let rows = [], hits = new Map();

  const sort = () => {
    const [, value] = columns[state.column];
    const direction = state.falling ? -1 : 1;
    const values = layer.counts.map((_, expert) => value(expert));
    rows = (state.query ? [...hits.keys()] : layer.counts.map((_, expert) => expert)).sort((a, b) =>
      values[a] === null || values[b] === null ? Number(values[a] === null) - Number(values[b] === null) || a - b
        : direction * compare(values[a], values[b]) || a - b);
    state.page = 0;
    render();
  };

  const search = () => {
    state.query = input.value.trim();
    hits = state.query ? matches(layer, state.query) : new Map();
    sort();
  };

  const order = (i) => {
    state.falling = i === state.column ? !state.falling : columns[i][3];
    state.column = i;
    sort();
  };

  const turn = (pages) => {
    state.page += pages;
    render();
  };

  const input = el("input", { type: "search", id: `${view.prefix}search`, autocomplete: "off",
    spellcheck: "false", placeholder: "token or text", input: debounced(150, () => search()) });
  const heads = columns.map(([title, value, , figures], i) => el("th",
    { scope: "col", role: "columnheader", class: figures ? null : "words" },
    value ? el("button", { type: "button", click: () => order(i) }, title) : title));
  const body = el("tbody", { role: "rowgroup" });
  const status = el("p", { class: "status", role: "status" });
  const back = el("button", { type: "button", click: () => turn(-1) }, "Previous");
  const next = el("button", { type: "button", click: () => turn(1) }, "Next");

  const row = (expert) => {
    const context = contextsOf(layer, expert)[hits.get(expert) ?? 0];
    const cells = columns.map(([title, , cell, figures]) =>
      el("td", { role: "cell", "data-title": title, class: figures ? null : "words" },
        cell ? cell(expert) : context ? marked(context, ELLIPSIS) : missing));
    const open = (event) => {
      if (!event.target.closest("a") && !getSelection().toString()) cells[0].firstChild.click();
    };
    return el("tr", { role: "row", class: layer.counts[expert] ? null : "dead", click: open }, cells);
  };

  const render = () => {
    const from = state.page * ROWS, to = Math.min(from + ROWS, rows.length);
    body.replaceChildren(...rows.slice(from, to).map(row));
    heads.forEach((head, i) => {
      if (i === state.column) head.setAttribute("aria-sort", state.falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    status.textContent = rows.length
      ? `${number(from + 1)} to ${number(to)} of ${plural(rows.length, "expert")}`
      : `No expert has “${state.query}” among its contexts and tokens.`;
    back.disabled = from === 0;
    next.disabled = to === rows.length;
  };

  sort();
  return el("div", {},
    el("div", { class: "tools" },
      el("label", { for: input.id }, "Search tokens and contexts"), input, status,
      el("div", { class: "pages" }, back, next)),
    el("table", { class: "experts", role: "table" },
      el("caption", {}, `Experts of ${layer.name}`),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads)), body));
};

export const experts = (view, id, level) => {
  const { layers } = view.content;
  if (layers.length === 0) return null;
  const place = el("div");
  const pick = choices("Layer", layers.map((layer) => layer.name),
    (i) => place.replaceChildren(expertTable(view, layers[i])));
  pick.select(0);
  return section(id, "Experts", level,
    el("p", {}, "A click on a row shows the expert's contexts of the highest gate, the tokens that are " +
      "typical of it, and the experts that are nearest to it."),
    layers.length > 1 ? pick.node : null, place);
};
