// The other translations of a sentence, below the line that it is in.

import { byId, el } from "./dom.js";
import { write } from "./output.js";
import { announce, say, spoken } from "./texts.js";

let open = null; // the sentence

export const close = () => {
  if (!open) return;
  open.node.setAttribute("aria-expanded", "false");
  open.node.removeAttribute("aria-controls");
  byId("alternatives")?.remove();
  open = null;
};

export const isOpen = (item) => open === item;

const wordsOf = (text) => text.match(/\s+|[\p{L}\p{M}\p{N}'’]+|[^\s\p{L}\p{M}\p{N}]/gu) ?? [];

// The words of a text that are not those of another one in the same order.
const differences = (text, other) => {
  const a = wordsOf(text);
  const b = wordsOf(other);
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1
        : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const nodes = [];
  for (let i = 0, j = 0; i < a.length; i += 1) {
    while (j < b.length && common[i][j] === common[i][j + 1]) j += 1;
    const same = j < b.length && a[i] === b[j];
    if (same) j += 1;
    nodes.push(same || !a[i].trim() ? a[i] : el("b", {}, a[i]));
  }
  return nodes;
};

const use = (item, text, chosen) => {
  item.translation = text;
  write(item, text === item.explained.translation ? item.explained.target : null);
  close();
  item.node.focus();
  announce(say("replaced"));
  chosen(item);
};

// The keys in the list: up and down go through it, Escape goes back.
const pressed = (event, item) => {
  const buttons = [...byId("alternatives").querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  const to = {
    ArrowDown: Math.min(at + 1, buttons.length - 1), ArrowUp: Math.max(at - 1, 0), Home: 0, End: buttons.length - 1,
  }[event.key];
  if (event.key === "Escape") {
    close();
    item.node.focus();
  } else if (to !== undefined) buttons[to]?.focus();
  else return;
  event.preventDefault();
};

// `chosen` is called when its reader has taken one; `enter` puts the focus in the list.
export const show = (item, chosen, enter) => {
  close();
  open = item;
  item.node.setAttribute("aria-expanded", "true");
  item.node.setAttribute("aria-controls", "alternatives");
  const { explained } = item;
  const texts = [...new Set([item.original, explained.translation, ...explained.alternatives])];
  const title = el("h3", { id: "alternatives-title", lang: spoken() }, el("bdi", {}, say("alternatives")));
  const list = texts.length > 1
    ? el("ul", {}, texts.map((text) => el("li", {}, el("button", {
      type: "button", "aria-pressed": String(text === item.translation), click: () => use(item, text, chosen),
    }, text === item.translation ? text : differences(text, item.translation)))))
    : el("p", { lang: spoken() }, el("bdi", {}, say("noAlternatives")));
  const box = el("div", {
    id: "alternatives", class: "alternatives", role: "group", tabindex: -1, "aria-labelledby": title.id,
    keydown: (event) => pressed(event, item),
  }, title, list);
  item.node.closest(".line").after(box);
  if (enter) /** @type {HTMLElement} */ (box.querySelector("[aria-pressed=true]") ?? box).focus();
  announce(say("found", { count: texts.length - 1 }));
};
