// The experts that saw each wordpiece of a sentence, as in the report.

import { byId, el } from "./dom.js";
import { number, say } from "./texts.js";

// Neighbouring numbers get hues far from each other (the golden angle).
const hue = (expert) => (expert * 137.508 + 210) % 360;

const title = (layer) => {
  const [stack, place] = layer.split(".");
  return stack === "encoder" || stack === "decoder" ? say(stack, { layer: place }) : layer;
};

const chipRow = (layer, pieces, language, right) => {
  const rows = pieces.map((piece) =>
    piece.layers.find((one) => one.layer === layer)?.experts ?? []);
  const said = el("p", { class: "chosen-expert", role: "status" });
  let chosen = null;
  const choose = (expert) => {
    chosen = chosen === expert ? null : expert;
    let count = 0;
    chips.forEach((chip, i) => {
      const has = chosen !== null && rows[i].some((one) => one.expert === chosen);
      count += Number(has);
      chip.classList.toggle("same", has);
      chip.classList.toggle("other", chosen !== null && !has);
      chip.setAttribute("aria-pressed", String(has));
    });
    said.textContent = chosen === null ? "" : say("withExpert", { count, expert: String(chosen) });
  };
  const chips = pieces.map((piece, i) => {
    const [first] = rows[i];
    const chip = el("button", {
      type: "button", class: "chip", "aria-pressed": "false", disabled: !first, click: () => choose(first.expert),
    }, el("bdi", { class: "piece" }, piece.text), rows[i].map(({ expert, gate }) =>
      el("span", { class: "share", dir: "ltr" }, el("b", {}, String(expert)),
        ` ${number(gate, { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`)));
    if (first) chip.style.setProperty("--hue", String(hue(first.expert)));
    return chip;
  });
  return [el("h3", {}, title(layer)),
    el("div", { class: "chips", lang: language, dir: right ? "rtl" : "ltr" }, chips), said];
};

export const writeFold = (line) => byId("experts-body").replaceChildren(el("p", {}, line));

export const drawExperts = (explained, model) => {
  const sides = [["source", model.source, model.sourceRtl], ["target", model.target, model.targetRtl]];
  const parts = sides.map(([side, language, right]) => {
    const pieces = explained.pieces.filter((piece) => piece.side === side);
    const layers = [...new Set(pieces.flatMap((piece) => piece.layers.map((one) => one.layer)))];
    return layers.length
      ? el("section", {}, layers.flatMap((layer) => chipRow(layer, pieces, language, right))) : null;
  }).filter(Boolean);
  if (!parts.length) {
    writeFold(say(explained.pieces.length ? "dense" : "noPicture"));
    return;
  }
  const shown = el("p", { class: "about" }, el("bdi", { lang: model.source }, explained.text ?? ""), " → ",
    el("bdi", { lang: model.target }, explained.translation));
  byId("experts-body").replaceChildren(shown, el("p", {}, say("expertsLine")),
    el("div", { class: "sides" }, parts));
};


export const foldIsOpen = () => byId("experts").open;
