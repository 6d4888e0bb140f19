// Training curves: a chart for each figure of the logs, the runs one over the other.

import { collator, el, figure, heading, missing, number, section, table } from "./base.js";
import { chart, frame, plotText } from "./charts.js";
import { names, store } from "./data.js";
import { page } from "./page.js";

const { titles, layerTitles } = store; // nmt_moe/common/logged.py has them
const FIRST = ["ppl", "loss", "gnorm", "lr", "wps"];

const balanceName = (name) => {
  const kind = Object.keys(layerTitles).find((key) => name.startsWith("moe_") && name.endsWith(`_${key}`));
  return kind && `${name.slice(4, -kind.length - 1).replace(/_/g, " ")}: ${layerTitles[kind]}`;
};

const figureTitle = (name) => titles[name] ?? balanceName(name) ?? name.replace(/_/g, " ");

// fairseq logs no speed in validation, but a 0.
const has = (run, split, name) =>
  (split === "train" || name !== "wps") && run[split][name]?.some((value) => value != null);

const figureNames = (runs) => {
  const all = new Set(runs.flatMap((run) => ["train", "valid"].flatMap((split) =>
    Object.keys(run[split]).filter((name) => name !== "updates" && has(run, split, name)))));
  const rank = (name) => {
    const place = FIRST.indexOf(name);
    return place >= 0 ? place : balanceName(name) ? FIRST.length : FIRST.length + 1;
  };
  return [...all].sort((a, b) => rank(a) - rank(b) || collator.compare(figureTitle(a), figureTitle(b)));
};

// 1, 2 and 5 times each power of ten.
const TICKS = Array.from({ length: 54 }, (_, i) => [1, 2, 5][i % 3] * 10 ** (Math.floor(i / 3) - 9));

// A logarithmic axis: with these ticks, or of a range that has few of them with even steps.
const logarithmic = (lines) => {
  const values = lines.flatMap((line) => line.y).filter((value) => value > 0);
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), 0);
  if (high / low >= 10) return { type: "log", tickmode: "array", tickvals: TICKS, ticktext: TICKS.map(figure) };
  const step = TICKS.find((tick) => tick >= (high - low) / 5) ?? 1;
  return { type: "log", tick0: 0, dtick: `L${step}` };
};

const curve = (runs, name) => {
  const state = { log: name === "ppl" };
  const lines = (theme) => runs.flatMap((run, i) => ["train", "valid"]
    .filter((split) => has(run, split, name))
    .map((split) => ({
      type: "scatter", connectgaps: true, x: run[split].updates, y: run[split][name],
      name: plotText(runs.length > 1 ? names[i] : split === "train" ? "training" : "validation"),
      legendgroup: `${i}${runs.length > 1 ? "" : split}`,
      showlegend: runs.length === 1 || split === "train" || !has(run, "train", name),
      mode: split === "train" && run[split].updates.length > 1 ? "lines" : "lines+markers",
      line: { color: theme.series[i % theme.series.length], width: split === "train" ? 1.5 : 2.5,
        dash: split === "train" ? "solid" : "dot" },
      marker: { size: 6 },
      hovertemplate: `update %{x:,}: %{y:.4~g}<extra>%{fullData.name}${split === "valid" ? ", validation" : ""}</extra>`,
    })));
  const linear = { rangemode: /loss|ppl/.test(name) ? "normal" : "tozero" };
  const found = chart(`${figureTitle(name)} over updates`, 260 + 18 * runs.length, (theme) => {
    const data = lines(theme);
    return {
      data,
      layout: frame(theme, {
        showlegend: true, dragmode: matchMedia("(pointer: fine)").matches ? "zoom" : false,
        xaxis: { title: { text: "updates" }, tickformat: "~s" },
        yaxis: state.log ? logarithmic(data) : linear,
      }),
    };
  });
  const box = el("input", { type: "checkbox", change: () => {
    state.log = box.checked;
    found.update();
  } });
  box.checked = state.log;
  return el("div", { class: "panel curve", "data-figure": name },
    el("div", { class: "bar" }, heading(3, figureTitle(name)), el("label", {}, box, " logarithmic")),
    found.node);
};

const choiceOfFigures = (panels) => {
  const boxes = panels.map((panel) => {
    const name = panel.dataset.figure;
    panel.hidden = !(FIRST.includes(name) || balanceName(name));
    const box = el("input", { type: "checkbox", change: () => { panel.hidden = !box.checked; } });
    box.checked = !panel.hidden;
    return el("label", {}, box, ` ${figureTitle(name)}`);
  });
  return el("details", { class: "figures" }, el("summary", {}, "Choice of figures"),
    el("fieldset", {}, el("legend", {}, "Figures to show"), boxes));
};

const last = (values) => values?.findLast((value) => value != null);

const median = (values) => {
  const known = values?.filter((value) => value != null).sort((a, b) => a - b) ?? [];
  return known[Math.floor(known.length / 2)];
};

const runTable = (runs) => table("The runs",
  ["", "updates", "training perplexity, last", "validation perplexity, best", "at update", "wordpieces/s, median"],
  runs.map((run, i) => {
    const valid = run.valid.ppl ?? [];
    const best = Math.min(...valid.filter((value) => value != null));
    const known = Number.isFinite(best);
    const updates = [...run.train.updates, ...run.valid.updates];
    return [names[i], number(Math.max(...updates)), number(last(run.train.ppl), 2),
      known ? number(best, 2) : missing,
      known ? number(run.valid.updates[valid.indexOf(best)]) : missing, number(median(run.train.wps))];
  }));

export const curves = () => {
  const { runs } = store;
  const panels = figureNames(runs).map((name) => curve(runs, name));
  page(names.join(", "), "Training curves", [
    section("overview", "Overview", 2, runTable(runs)),
    section("curves", "Curves", 2,
      el("p", {}, "Training is drawn as a line, validation dotted, with points."),
      choiceOfFigures(panels), el("div", { class: "grid" }, panels)),
  ]);
};
