// One expert in a dialog. Its address is in the page's, so links lead to it and "back" leaves it.

import { timesMean } from "./balance.js";
import { chunks, el, figure, heading, missing, note, number, percent, table } from "./base.js";
import { names } from "./data.js";
import { contextsOf, expertLink, labelsOf, marked, typicalOf } from "./experts.js";

const dialog = el("dialog", { class: "expert", "aria-labelledby": "expert-title" });

const ratio = (share, base) => (base ? `${figure(share / base)} ×` : missing);

const againstBase = (caption, heads, rows) => rows.length === 0 ? null : table(caption, heads, rows);

const expertView = (view, layer, expert) => {
  const contexts = contextsOf(layer, expert), typical = typicalOf(layer, expert);
  const labels = labelsOf(layer, expert), nearest = chunks(layer.details.nearest[expert], 2);
  const load = layer.counts[expert];
  const owner = names.length > 1 ? `${names[view.index]}, ` : "";
  return [
    el("div", { class: "bar" },
      heading(2, `Expert ${expert} of ${layer.name}`, { id: "expert-title", tabindex: -1 }),
      el("button", { type: "button", class: "close", click: () => dialog.close() }, "Close")),
    el("p", { class: "note" }, `${owner}${number(load)} assignments, ` +
      `${number(timesMean(layer.counts)[expert], 2)} × the mean of the layer; importance ` +
      `${figure(layer.importance[expert])}` +
      (layer.groups ? `; group ${Math.floor((expert * layer.groups) / layer.experts)}` : "") + "."),
    load ? null : note("No token of this data was sent to this expert."),
    contexts.length ? heading(3, "Contexts of the highest gate") : null,
    contexts.length ? el("ol", { class: "contexts" }, contexts.map((context) =>
      el("li", {}, el("span", { class: "gate" }, number(context.gate, 2)), marked(context)))) : null,
    typical.length ? heading(3, "Typical tokens") : null,
    againstBase("How often the expert sees a token, against how often the layer does",
      ["token", "count", "share", "base", "ratio"],
      typical.map((t) => [el("span", { class: "piece" }, t.token), number(t.count),
        percent(t.share), percent(t.base, 2), ratio(t.share, t.base)])),
    labels.length ? heading(3, "Labels") : null,
    againstBase("Of which lines the expert's tokens are, against the layer's",
      ["label", "share", "base", "ratio"],
      labels.map((l) => [l.label, percent(l.share), percent(l.base), ratio(l.share, l.base)])),
    nearest.length ? heading(3, "Nearest experts") : null,
    nearest.length ? el("ul", { class: "nearest" }, nearest.map(([other, similarity]) => el("li", {},
      expertLink(view, layer, other, `Expert ${other}`),
      el("span", {}, ` ${number(similarity, 2)} `),
      el("span", { class: "tokens" }, typicalOf(layer, other).slice(0, 3)
        .map((t) => el("span", { class: "piece" }, t.token)))))) : null,
  ].filter(Boolean);
};

// Opens the expert that the page's address names, closes the dialog when it names none.
const route = (views) => {
  const [, index, name, expert] = decodeURIComponent(location.hash).split("/");
  const view = location.hash.startsWith("#expert/") ? views[index] : null;
  const layer = view?.content.layers.find((layer) => layer.name === name);
  if (!layer?.details.contexts[expert]) {
    if (dialog.open) dialog.close();
    return;
  }
  dialog.replaceChildren(...expertView(view, layer, Number(expert)));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  dialog.querySelector("h2").focus();
};

export const startExpert = (views) => {
  document.body.append(dialog);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#expert/")) history.pushState(null, "", location.pathname);
  });
  addEventListener("hashchange", () => route(views));
  addEventListener("popstate", () => route(views));
  route(views);
};
