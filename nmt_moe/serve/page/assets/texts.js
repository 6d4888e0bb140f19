// What the page says, in the language of its reader.

import { byId, el, remembered } from "./dom.js";

/** @type {Record<string, Record<string, any>>} */
const texts = JSON.parse(byId("texts").textContent);

const known = (wanted) => {
  const code = String(wanted).toLowerCase().split("-")[0];
  return code in texts ? code : null;
};

let language = known(remembered.get("language")) ??
  navigator.languages.map(known).find(Boolean) ?? "en";
const followers = [];

export const spoken = () => language;

export const number = (value, options = {}) => value.toLocaleString(language, options);

// {name} stands for a value. A text of several forms has them by the plural of `count`.
export const say = (key, values = {}) => {
  const found = texts[language][key] ?? texts.en[key];
  const form = typeof found === "string" ? found
    : found[new Intl.PluralRules(language).select(values.count)] ?? found.other;
  return form.replace(/\{(\w+)\}/g, (all, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : value ?? all;
  });
};

// `write` is called now, and again whenever the language changes.
export const follow = (write) => {
  followers.push(write);
  write();
};

const writeAll = () => {
  document.documentElement.lang = language;
  document.title = say("title");
  for (const node of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-text]"))) {
    node.textContent = say(node.dataset.text);
  }
  for (const node of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-label]"))) {
    node.setAttribute("aria-label", say(node.dataset.label));
    if (node.tagName === "BUTTON") node.title = say(node.dataset.label);
  }
  for (const node of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-placeholder]"))) {
    node.setAttribute("placeholder", say(node.dataset.placeholder));
  }
};

export const startTexts = () => {
  const menu = byId("page-language");
  menu.append(...Object.entries(texts).map(([code, own]) =>
    el("option", { value: code, lang: code }, own.name)));
  menu.value = language;
  menu.addEventListener("change", () => {
    language = menu.value;
    remembered.set("language", language);
    followers.forEach((write) => write());
  });
  follow(writeAll);
};

// For a screen reader, without moving the focus.
export const announce = (text) => {
  byId("said").textContent = text;
};
