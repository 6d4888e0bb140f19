// How evenly the experts of each layer are used.

import { cards, chunks, el, figure, heading, mean, missing, note, number, percent, section, sum, table } from "./base.js";
import { chart, frame, plotText } from "./charts.js";
import { perToken } from "./model.js";

const BARS = 128; // more experts than that are drawn as an area

export const timesMean = (values) => {
  const average = mean(values);
  return values.map((value) => (average ? value / average : 0));
};

const ordered = (values) => values.map((_, i) => i).sort((a, b) => values[b] - values[a]);

const evenLine = (theme) => ({
  type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1,
  line: { color: theme.muted, width: 1, dash: "dot" },
});

const balanceCards = (layer) => cards([
  ["CV of importance", number(layer.importance_cv, 2), "0: all the same"],
  ["CV of load", number(layer.load_cv, 2), "0: all the same"],
  ["Max / mean load", number(layer.max_over_mean, 2), "1: all the same"],
  ["Dead experts", number(layer.dead), `of ${number(layer.experts)}`],
  ["Gate entropy", `${number(layer.entropy, 2)} bits`,
    `at most ${number(Math.log2(perToken(layer)), 2)} with ${number(perToken(layer))} per token`],
  ["Busiest expert", percent(layer.top_share), `of the assignments; even: ${figure(100 / layer.experts)}\u00a0%`],
]);

const loads = (layer) => chart(`Load and importance per expert of ${layer.name}, sorted by load`, 300,
  (theme) => {
    const order = ordered(layer.counts);
    const load = timesMean(layer.counts), importance = timesMean(layer.importance);
    const x = order.map((_, rank) => rank + 1);
    const names = order.map((expert) => `expert ${expert}: ${number(layer.counts[expert])} assignments`);
    const many = layer.experts > BARS;
    const hover = { hovertext: names,
      hovertemplate: "%{hovertext}<br>%{y:.2f} × mean<extra>%{fullData.name}</extra>" };
    const first = many
      ? { type: "scatter", mode: "lines", fill: "tozeroy", line: { color: theme.series[0], width: 1.5 } }
      : { type: "bar", marker: { color: theme.series[0] } };
    return {
      data: [
        { ...first, name: "load", x, y: order.map((expert) => load[expert]), ...hover },
        { type: "scatter", mode: "markers", name: "importance (sum of gates)", x,
          y: order.map((expert) => importance[expert]),
          marker: { color: theme.series[1], size: many ? 3 : 6 }, ...hover },
      ],
      layout: frame(theme, {
        bargap: 0.15, shapes: [evenLine(theme)],
        xaxis: { title: { text: "experts, by load" }, showgrid: false, range: [0.4, layer.experts + 0.6],
          ...(layer.experts > 20 ? {} : { dtick: 1 }) },
        yaxis: { title: { text: "× mean" }, rangemode: "tozero" },
      }),
    };
  });

const groupsOf = (layer) => chunks(layer.counts, layer.experts / layer.groups);

const groupLoads = (layer) => chart(`Load per group of ${layer.name}`, 240, (theme) => {
  const load = timesMean(groupsOf(layer).map(sum));
  return {
    data: [{ type: "bar", x: load.map((_, i) => i), y: load, marker: { color: theme.series[0] },
      hovertemplate: "group %{x}: %{y:.2f} × mean<extra></extra>" }],
    layout: frame(theme, {
      bargap: 0.15, margin: { l: 8, r: 12, t: 8, b: 8 }, shapes: [evenLine(theme)],
      xaxis: { title: { text: "group" }, showgrid: false, tick0: 0, ...(load.length < 20 ? { dtick: 1 } : {}) },
      yaxis: { title: { text: "× mean group" }, rangemode: "tozero" },
    }),
  };
});

const withinGroups = (layer) => {
  const height = 90 + Math.max(90, Math.min(360, 14 * layer.groups));
  return chart(`Load per expert within the groups of ${layer.name}`, height, (theme) => {
    const first = (group) => (group * layer.experts) / layer.groups;
    const orders = groupsOf(layer).map(ordered);
    const load = timesMean(layer.counts);
    return {
      data: [{
        type: "heatmap", colorscale: [[0, theme.low], [1, theme.high]], zmin: 0,
        z: orders.map((order, group) => order.map((i) => load[first(group) + i])),
        x: orders[0].map((_, i) => i + 1), y: orders.map((_, group) => group),
        text: orders.map((order, group) => order.map((i) => `expert ${first(group) + i}`)),
        hovertemplate: "group %{y}, %{text}<br>%{z:.2f} × mean<extra></extra>",
        colorbar: { title: { text: "× mean" }, thickness: 10, outlinewidth: 0 },
      }],
      layout: frame(theme, {
        margin: { l: 8, r: 12, t: 8, b: 8 },
        xaxis: { title: { text: "experts of a group, by load" }, showgrid: false },
        yaxis: { title: { text: "group" }, autorange: "reversed", showgrid: false },
      }),
    };
  });
};

export const balance = (content, id, level) => content.layers.length === 0 ? null
  : section(id, "Balance", level,
    el("p", {}, "Load is the number of assignments that an expert gets, importance the sum of its gates; " +
      "both are shown as multiples of the layer's mean. CV is the standard deviation over the mean."),
    content.layers.map((layer) => el("div", { class: "panel" },
      heading(level + 1, layer.name),
      el("p", { class: "note" }, `${number(layer.experts)} experts, gating ${layer.gating.replace(/_/g, " ")}; ` +
        `${number(layer.assignments)} assignments of ${number(layer.tokens)} tokens.`),
      balanceCards(layer),
      loads(layer).node,
      layer.groups ? el("div", { class: "pair" },
        el("div", {}, heading(level + 2, `Its ${layer.groups} groups`), groupLoads(layer).node),
        el("div", {}, heading(level + 2, "Within the groups"), withinGroups(layer).node)) : null)));

const sortedLoads = (name, contents, names) => chart(`Sorted load of ${name}`, 300, (theme) => ({
  data: contents.flatMap((content, i) => {
    const layer = content.layers.find((found) => found.name === name);
    if (!layer) return [];
    const load = timesMean(layer.counts).sort((a, b) => b - a);
    return [{
      type: "scatter", mode: "lines", name: plotText(names[i]), y: load,
      line: { color: theme.series[i], width: 2, dash: i ? "dash" : "solid" },
      x: load.map((_, rank) => (load.length > 1 ? rank / (load.length - 1) : 0)),
      hovertemplate: "%{y:.2f} × mean at %{x:.0%}<extra></extra>",
    }];
  }),
  layout: frame(theme, {
    shapes: [evenLine(theme)], showlegend: true,
    xaxis: { title: { text: "experts, from the busiest" }, tickformat: ".0%" },
    yaxis: { title: { text: "load, × mean" }, rangemode: "tozero" },
  }),
}));

/** @type {[string, (layer: any) => any, (value: any) => string][]} */
const balanceFigures = [
  ["experts", (l) => l.experts, number],
  ["CV of importance", (l) => l.importance_cv, (v) => number(v, 2)],
  ["CV of load", (l) => l.load_cv, (v) => number(v, 2)],
  ["max / mean load", (l) => l.max_over_mean, (v) => number(v, 2)],
  ["dead experts", (l) => l.dead, number],
  ["gate entropy, bits", (l) => l.entropy, (v) => number(v, 2)],
  ["share of the busiest", (l) => l.top_share, (v) => percent(v)],
];

export const balances = (contents, names) => {
  const layers = [...new Set(contents.flatMap((content) => content.layers.map((layer) => layer.name)))];
  if (layers.length === 0) return null;
  return section("balance", "Balance", 2, layers.map((name) => {
    const both = contents.map((content) => content.layers.find((layer) => layer.name === name));
    return el("div", { class: "panel" }, heading(3, name),
      both.map((layer, i) => (layer ? null : note(`${names[i]} has no experts here.`))),
      sortedLoads(name, contents, names).node,
      table(`Balance of ${name}`, ["", ...names], balanceFigures.map(([title, of, text]) =>
        [title, ...both.map((layer) => (layer ? text(of(layer)) : missing))])));
  }));
};
