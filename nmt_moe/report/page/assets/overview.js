// What was looked at: the checkpoint and the data, in figures.

import { cards, el, facts, heading, missing, note, number, percent, section, short, signed, sum, table } from "./base.js";

export const KINDS = {
  lstm: "LSTM", experts: "experts", gates: "gates", dense_feed_forward: "dense feed-forward",
  attention: "attention", softmax: "softmax",
};

// Names, figures and how to write them, perhaps with a remark.
/** @typedef {[string, (content: any) => any, (value: any) => string, string?][]} Figures */
/** @type {Figures} */
const attentionFigures = [
  ["Attention entropy", (c) => c.attention?.entropy, (v) => `${number(v, 2)} bits`, "0: one position"],
  ["Attention, top position", (c) => c.attention?.top_share, (v) => percent(v), "of the weight"],
  ["Attention, last position", (c) => c.attention?.last_share, (v) => percent(v), "of the weight"],
  ["Attention stays", (c) => c.attention?.stuck, (v) => percent(v), "of the steps with one position"],
];

/** @type {Figures} */
const otherFigures = [
  ["Perplexity", (c) => c.data.perplexity, (v) => number(v, 2)],
  ["Parameters", (c) => c.model.parameters, short],
  ["Active per token", (c) => c.model.parameters_active, short, "without embedding and softmax"],
  ["Operations per timestep", (c) => c.model.ops_per_timestep, short, "multiply-adds"],
  ["MoE layers", (c) => c.layers.length, number],
  ["Experts", (c) => sum(c.layers.map((layer) => layer.experts)), number, "in all layers"],
  ["Updates", (c) => c.updates, number],
  ["Sentences", (c) => c.data.sentences, number],
  ["Source pieces", (c) => c.data.source_tokens, number],
  ["Target pieces", (c) => c.data.target_tokens, number],
];

const factList = (content) => facts([
  ["Checkpoint", content.checkpoint],
  ["Architecture", content.arch],
  ["Task", content.task.replace(/_/g, " ")],
  ["Languages", content.languages?.join(" → ")],
  ["Data", content.data.name],
].filter(([, value]) => value));

export const without = (content) => content.layers.length === 0
  ? note("This checkpoint is dense: it has no mixture-of-experts layer, so there is nothing to " +
      "say about experts.")
  : null;

// Whether translations can follow their source comes before all figures.
const health = (content) => content.attention
  ? el("p", { class: content.attention.dead ? "health dead" : "health" }, content.attention.verdict)
  : null;

const meaning = (contents) => contents.some((content) => content.attention)
  ? note("By attention the model looks, for each wordpiece that it writes, at the pieces of the source that " +
      "matter for it. If it stays with one place, it writes fluent text about something else.")
  : null;

const figureCards = (rows, content) => rows.map(([name, of, text, more]) => [name, text(of(content)), more]);

const attentionCards = (content) => content.attention ? figureCards(attentionFigures, content) : [];

const otherCards = (content) => figureCards(otherFigures.filter(([, of]) => of(content)), content);

// A section of its own, where the page begins with translations.
export const attention = (content) => content.attention
  ? section("attention", "Attention", 2, health(content), meaning([content]), cards(attentionCards(content)))
  : null;

export const overview = (content, id, level) =>
  section(id, "Overview", level,
    ...(content.translations ? [] : [health(content), meaning([content])]),
    cards([...(content.translations ? [] : attentionCards(content)), ...otherCards(content)]),
    factList(content),
    without(content));

export const summary = (contents, names) => {
  const some = [...attentionFigures, ...otherFigures].filter(([, of]) => contents.some((content) => of(content) != null));
  const figures = some.map(([name, of, text]) => {
    const [a, b] = contents.map(of);
    const change = a == null || b == null ? missing
      : signed(b - a, text) + (a && b !== a ? ` (${signed(b / a - 1, (v) => percent(v))})` : "");
    return [name, text(a), text(b), change];
  });
  return section("overview", "Overview", 2,
    el("div", { class: "models" }, contents.map((content, i) =>
      el("div", { class: "panel" }, heading(3, names[i]), health(content), factList(content), without(content)))),
    meaning(contents),
    table("Both checkpoints, and what the second has more or less than the first",
      ["", ...names, "difference"], figures));
};
