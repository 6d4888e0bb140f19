// One sentence: its wordpieces with their experts in each layer, and the attention beside them.

import { el, heading, number, plural, section } from "./base.js";
import { chart, charts, frame, observe, plotText } from "./charts.js";
import { store } from "./data.js";
import { BYTE, WORD, apart, expertLink } from "./experts.js";

// Neighbouring numbers get hues far from each other (the golden angle).
const hue = (expert) => (expert * 137.508 + 210) % 360;

const pieceText = (piece) => store.pieces[piece];

const attention = (sentence) => {
  const height = 130 + Math.max(160, 24 * sentence.predicted.length);
  return chart("Attention: source wordpieces across, the predicted ones down", height, (theme) => {
    const ticks = (pieces) => ({
      tickmode: "array", tickvals: pieces.map((_, i) => i), showgrid: false, zeroline: false,
      ticktext: pieces.map((piece) => plotText(pieceText(piece))),
    });
    return {
      data: [{
        type: "heatmap", z: sentence.attention, zmin: 0, xgap: 1, ygap: 1,
        colorscale: [[0, theme.low], [1, theme.high]], showscale: false,
        text: sentence.predicted.map((target) => sentence.source.map((source) =>
          `${plotText(pieceText(target))} ← ${plotText(pieceText(source))}`)),
        hovertemplate: "%{text}: %{z:.2f}<extra></extra>",
      }],
      layout: frame(theme, {
        margin: { l: 8, r: 30, t: 8, b: 8 }, maxWidth: 120 + 34 * sentence.source.length,
        xaxis: { ...ticks(sentence.source), side: "top", tickangle: -60 },
        yaxis: { ...ticks(sentence.predicted), autorange: "reversed" },
      }),
    };
  });
};

const chipRow = (view, layer, pieces, rows) => {
  const said = el("p", { class: "status", role: "status" });
  let chosen = null;
  const choose = (expert) => {
    chosen = chosen === expert ? null : expert;
    chips.forEach((chip, i) => {
      const has = rows[i].some(([other]) => other === chosen);
      chip.classList.toggle("same", chosen !== null && has);
      chip.classList.toggle("other", chosen !== null && !has);
      chip.setAttribute("aria-pressed", chosen !== null && has);
    });
    const count = rows.filter((row) => row.some(([other]) => other === chosen)).length;
    said.replaceChildren(...(chosen === null ? [] : [`${plural(count, "wordpiece")} here with `,
      expertLink(view, layer, chosen, `expert ${chosen} of ${layer.name}`)]));
  };
  const chips = pieces.map((piece, i) => {
    const [top] = [...rows[i]].sort((a, b) => b[1] - a[1]);
    const chip = el("button", { type: "button", class: "chip", "aria-pressed": "false",
      disabled: !top, click: () => choose(top[0]) },
    el("span", { class: "piece" }, pieceText(piece)),
    rows[i].map(([expert, gate]) => el("span", { class: "share" },
      el("b", {}, String(expert)), ` ${number(gate, 2)}`)));
    if (top) chip.style.setProperty("--hue", hue(top[0]));
    return chip;
  });
  return [el("div", { class: "chips" }, chips), said];
};

const sentenceView = (view, sentence, level) => {
  const layers = view.content.layers.filter((layer) => sentence.experts[layer.name]);
  const rows = layers.flatMap((layer) => {
    const pieces = layer.name.startsWith("encoder") ? sentence.source : sentence.target;
    return [heading(level, layer.name),
      ...chipRow(view, layer, pieces, sentence.experts[layer.name])];
  });
  if (!sentence.attention) return el("div", {}, rows);
  const map = attention(sentence);
  const node = el("div", { class: rows.length ? "sentence" : "" },
    el("div", {}, rows), el("div", {}, heading(level, "Attention"), map.node));
  node.chart = map;
  return node;
};

// Characters that are spelled in bytes.
const spelled = (pieces) => new TextDecoder().decode(
  Uint8Array.from(pieces, (piece) => parseInt(piece.slice(3, 5), 16)));

const plain = (pieces) => {
  const texts = pieces.map(pieceText).filter((text) => text !== "</s>");
  return texts.map((text, i) => {
    if (!BYTE.test(text)) return (apart(text) ? " " : "") + text.replace(/^▁/, "").replace(WORD, " ");
    if (BYTE.test(texts[i - 1] ?? "")) return ""; // with those before it
    const rest = texts.slice(i);
    const end = rest.findIndex((other) => !BYTE.test(other));
    return spelled(end < 0 ? rest : rest.slice(0, end));
  }).join("").trim();
};

export const sentences = (view, id, level) => {
  const { content } = view;
  if (content.sentences.length === 0) return null;
  const place = el("div");
  const text = el("p", { class: "text" });
  const show = (i) => {
    const sentence = content.sentences[i];
    if (place.firstChild?.chart) charts.delete(place.firstChild.chart);
    const sides = [sentence.source, sentence.predicted].filter((pieces) => pieces.length);
    text.replaceChildren(...sides.flatMap((pieces, side) =>
      [...(side ? ["  →  "] : []), el("bdi", {}, plain(pieces))]));
    place.replaceChildren(sentenceView(view, sentence, level + 1));
    if (place.firstChild.chart) observe(place.firstChild.chart);
  };
  const pick = el("select", { id: `${view.prefix}sentence`, change: () => show(pick.selectedIndex) },
    content.sentences.map((sentence, i) => {
      const words = plain(sentence.source.length ? sentence.source : sentence.predicted);
      return el("option", {}, `${i + 1}: ${words.length > 70 ? `${words.slice(0, 70)} …` : words}`);
    }));
  show(0);
  return section(id, "Sentences", level,
    content.layers.length ? el("p", {}, "Each wordpiece shows its experts and their gates, in the colour of the " +
      "first. A click on one marks all that have the same expert. A decoder's layer sees the wordpieces that it " +
      "reads, which begin with </s>.") : null,
    el("div", { class: "tools" }, el("label", { for: pick.id }, "Sentence"), pick), text, place);
};
