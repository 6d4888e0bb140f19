// Charts: drawn by plotly when they come into view, again when the colours change, and for paper.

import { el } from "./base.js";

export const charts = new Set();
const dark = matchMedia("(prefers-color-scheme: dark)");
const PAPER_WIDTH = 680; // CSS pixels between the margins of A4

const colours = () => {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: value("text"), muted: value("muted"), line: value("line"), surface: value("surface"),
    low: value("low"), high: value("high"),
    series: [1, 2, 3, 4, 5, 6, 7, 8].map((i) => value(`series-${i}`)),
  };
};

// plotly reads some HTML and entities in texts, so those of the data are written in entities.
export const plotText = (text) =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

export const frame = (theme, layout) => {
  const axis = {
    gridcolor: theme.line, linecolor: theme.line, zerolinecolor: theme.line,
    tickcolor: theme.line, automargin: true,
  };
  const { xaxis, yaxis, ...rest } = layout;
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: theme.text },
    margin: { l: 8, r: 12, t: 28, b: 8 }, colorway: theme.series, dragmode: false,
    hoverlabel: { bgcolor: theme.surface, bordercolor: theme.muted, font: { color: theme.text } },
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { color: theme.text } },
    ...rest,
    xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis },
  };
};

// plotly comes with a script of its own, after this one.
/** @returns {any} */
const plotly = () => globalThis["Plotly"];

const draw = (chart) => {
  const printing = document.documentElement.classList.contains("printing");
  const { data, layout } = chart.figure(colours());
  layout.height = chart.height;
  if (printing) layout.width = Math.min(PAPER_WIDTH, layout.maxWidth ?? PAPER_WIDTH);
  else layout.autosize = true;
  delete layout.maxWidth;
  chart.node.dataset.drawn = "";
  plotly().react(chart.node, data, layout, { responsive: true, displayModeBar: false });
};

const drawn = (chart) => "drawn" in chart.node.dataset;

// Does nothing before the start: plotly is not there yet.
let observer = null;
export const observe = (found) => observer?.observe(found.node);

const watch = () =>
  new IntersectionObserver((entries) => {
    for (const entry of entries.filter((found) => found.isIntersecting)) {
      observer.unobserve(entry.target);
      draw([...charts].find((found) => found.node === entry.target));
    }
  }, { rootMargin: "200px" });

// `figure(theme)` gives plotly's data and layout; `height` is in CSS pixels.
export const chart = (label, height, figure) => {
  const node = el("div", { class: "chart", role: "img", "aria-label": label });
  const found = { node, figure, height };
  node.style.height = `${height}px`;
  charts.add(found);
  found.update = () => drawn(found) && draw(found);
  return found;
};

const redraw = () => [...charts].filter(drawn).forEach(draw);

export const startCharts = () => {
  observer = watch();
  charts.forEach(observe);
  dark.addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    charts.forEach(draw);
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    redraw();
  });
};
