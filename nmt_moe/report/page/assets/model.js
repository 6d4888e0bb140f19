// The model in a picture: stacks side by side, their blocks from the bottom to the top.

import { el, heading, number, section, short } from "./base.js";
import { chart, frame, plotText } from "./charts.js";
import { KINDS } from "./overview.js";

const SQUARES = 64;

// Experts as squares, those of one token filled.
const squares = (layer, perToken) => {
  const shown = Math.min(layer.experts, SQUARES);
  return el("div", { class: "squares", "aria-hidden": "true" },
    Array.from({ length: shown }, (_, i) => el("i", i < perToken ? { class: "on" } : {})),
    layer.experts > shown ? el("span", {}, "…") : null);
};

export const perToken = (layer) => layer.assignments / layer.tokens;

const block = (content, { kind, label, detail, parameters, active, layer: name }) => {
  const layer = content.layers.find((found) => found.name === name);
  return el("li", { class: `block ${kind}` },
    el("strong", {}, label),
    el("span", { class: "size" }, parameters ? short(parameters) : ""),
    el("span", { class: "detail" }, detail),
    layer ? el("span", { class: "detail" }, `${short(active)} parameters active for a token`) : null,
    layer ? squares(layer, Math.round(perToken(layer))) : null);
};

const picture = (content, level) =>
  el("div", { class: "stacks" }, content.model.stacks.map((stack) =>
    el("div", { class: "stack" },
      heading(level, stack.name),
      el("ol", { "aria-label": `${stack.name}, from the bottom to the top` },
        stack.blocks.map((found) => block(content, found))))));

const operations = (contents, names) => {
  const kinds = Object.keys(KINDS).filter((kind) => contents.some((c) => c.model.ops[kind]));
  const height = 60 + kinds.length * (contents.length > 1 ? 40 : 26);
  return chart("Operations per timestep by kind", height, (theme) => ({
    data: contents.map((content, i) => ({
      type: "bar", orientation: "h", name: plotText(names[i]),
      y: kinds.map((kind) => KINDS[kind]), x: kinds.map((kind) => content.model.ops[kind] ?? 0),
      marker: { color: theme.series[i] }, cliponaxis: false,
      text: kinds.map((kind) => short(content.model.ops[kind] ?? 0)), textposition: "outside",
      hovertemplate: "%{y}: %{x:,}<extra></extra>",
    })),
    layout: frame(theme, {
      showlegend: contents.length > 1, bargap: 0.3,
      margin: { l: 8, r: 56, t: contents.length > 1 ? 28 : 4, b: 8 },
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", traceorder: "normal" },
      xaxis: { rangemode: "tozero", nticks: 5, tickformat: "~s" }, yaxis: { autorange: "reversed", showgrid: false },
    }),
  }));
};

export const models = (contents, names) => {
  const single = contents.length === 1;
  return section("model", "Model", 2,
    el("div", { class: "models" }, contents.map((content, i) => el("div", { class: "model" },
      single ? null : heading(3, names[i]),
      el("p", {}, `${number(content.model.parameters)} parameters. Each token is multiplied with ` +
        `${number(content.model.parameters_active)} of them, embedding and softmax not counted.`),
      picture(content, single ? 3 : 4)))),
    heading(3, "Operations per timestep"),
    el("p", {}, contents.map((content, i) =>
      `${single ? "" : `${names[i]}: `}${number(content.model.ops_per_timestep)} multiply-adds`)
      .join("; ") + "."),
    operations(contents, names).node);
};
