// How much the choice of experts says about the wordpiece, and about the label of the line.

import { el, heading, missing, note, number, percent, section, table } from "./base.js";
import { chart, frame, plotText } from "./charts.js";

const WHAT = { wordpiece: "wordpiece", label: "label" };

const informationRows = (contents, names) => contents.flatMap((content, i) =>
  content.layers.flatMap((layer) => Object.keys(WHAT)
    .filter((what) => layer.information[what])
    .map((what) => ({
      name: names.length > 1 ? `${layer.name}, ${names[i]}` : layer.name,
      what, ...layer.information[what],
    }))));

const informationChart = (rows, what) => {
  const shown = rows.filter((row) => row.what === what);
  if (shown.length === 0) return null;
  return el("div", {},
    heading(3, `Experts and ${WHAT[what]}s`),
    chart(`Mutual information of experts and ${WHAT[what]}s`, 80 + 44 * shown.length, (theme) => {
      const bar = (name, of, color) => ({
        type: "bar", orientation: "h", name, marker: { color },
        x: shown.map(of), y: shown.map((row) => plotText(row.name)),
        hovertemplate: "%{y}: %{x:.3f} bits<extra>%{fullData.name}</extra>",
      });
      return {
        data: [bar("measured", (row) => row.bits, theme.series[0]),
          bar("shuffled", (row) => row.shuffled, theme.series[1])],
        layout: frame(theme, {
          bargap: 0.35, xaxis: { title: { text: "bits" }, rangemode: "tozero" },
          yaxis: { type: "category", showgrid: false, autorange: "reversed" },
        }),
      };
    }).node);
};

export const specialisation = (contents, names) => {
  const rows = informationRows(contents, names);
  if (rows.length === 0) return null;
  return section("specialisation", "Specialisation", 2,
    el("p", {}, "The mutual information is what an assignment's expert tells about its wordpiece, or about " +
      "the label of its line, in bits. Few data inflate it: the shuffled baseline is what the same " +
      "counts give by chance, so what counts is the difference."),
    el("div", { class: "pair" }, Object.keys(WHAT).map((what) => informationChart(rows, what))),
    rows.some((row) => row.what === "label") ? null
      : note("This data has no labels, so nothing can be said about experts and labels."),
    table("Mutual information in bits", ["layer", "of experts and", "measured", "shuffled",
      "difference", "entropy", "share of the entropy", "entropy of the experts"],
    rows.map((row) => [row.name, `${WHAT[row.what]}s`, number(row.bits, 3), number(row.shuffled, 3),
      number(row.bits - row.shuffled, 3), number(row.entropy, 3),
      row.entropy ? percent(row.bits / row.entropy) : missing, number(row.experts_entropy, 3)])));
};
