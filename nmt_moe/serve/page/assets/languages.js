// The languages that the models have, and which pair is chosen.

import { byId, el, remembered } from "./dom.js";
import { follow, say } from "./texts.js";
import { speak } from "./typed.js";

/** @type {any[]} */
let known = [];
let changed = (_swapped) => {};

export const pair = () => ({ source: byId("from").value, target: byId("into").value });

// Of several models of a pair, one that is ready.
export const model = () => {
  const { source, target } = pair();
  const own = known.filter((one) => one.source === source && one.target === target);
  return own.find((one) => one.state === "ready") ?? own[0];
};

const reverse = () => {
  const { source, target } = pair();
  return known.find((one) => one.source === target && one.target === source);
};

const fill = (menu, names, wanted) => {
  menu.replaceChildren(...[...names].map(([code, name]) =>
    el("option", { value: code, lang: code, dir: "auto" }, name)));
  if (names.has(wanted)) menu.value = wanted;
};

const fillTargets = (wanted) => {
  const targets = known.filter((one) => one.source === byId("from").value);
  fill(byId("into"), new Map(targets.map((one) => [one.target, one.targetName])), wanted);
};

const write = () => {
  const button = byId("swap");
  const possible = Boolean(reverse());
  button.setAttribute("aria-disabled", String(!possible));
  button.title = possible ? say("swap") : say("noSwap");
  button.setAttribute("aria-label", button.title);
};

const chosen = () => {
  const one = model();
  if (!one) return;
  speak(one.source, one.sourceRtl);
  byId("translation").lang = one.target;
  byId("translation").dir = one.targetRtl ? "rtl" : "ltr";
  remembered.set("pair", JSON.stringify([one.source, one.target]));
  write();
};

const choose = (source, target) => {
  byId("from").value = source;
  fillTargets(target);
  chosen();
};

const before = () => {
  const { source, target } = pair();
  if (source && target) return [source, target];
  try {
    const found = JSON.parse(remembered.get("pair"));
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
};

// The models of the server; the choice stays where it is still there.
export const learn = (models) => {
  const [source, target] = before();
  known = models;
  fill(byId("from"), new Map(models.map((one) => [one.source, one.sourceName])), source);
  fillTargets(target);
  chosen();
};

// `change` gets whether the text and its translation change sides.
export const startLanguages = (change) => {
  changed = change;
  follow(write);
  byId("from").addEventListener("change", () => {
    fillTargets(byId("into").value);
    chosen();
    changed(false);
  });
  byId("into").addEventListener("change", () => {
    chosen();
    changed(false);
  });
  byId("swap").addEventListener("click", () => {
    if (!reverse()) return;
    const { source, target } = pair();
    choose(target, source);
    changed(true);
  });
};
