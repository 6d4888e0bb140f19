// Files that are dropped on the page, or chosen: translated one after the other.

import { byId, el } from "./dom.js";
import { model, pair } from "./languages.js";
import { lineOf } from "./refusals.js";
import { translateFile } from "./server.js";
import { announce, say } from "./texts.js";

let last = Promise.resolve();

// letter.de.txt of letter.txt
const named = (name, language) => {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? `${name.slice(0, dot)}.${language}${name.slice(dot)}` : `${name}.${language}`;
};

const translate = async (file, languages, state, signal) => {
  if (signal.aborted) return;
  state.replaceChildren(say("translatingFile"));
  try {
    const blob = await translateFile(file, languages, signal);
    const name = named(file.name, languages.target);
    const link = el("a", { href: URL.createObjectURL(blob), download: name, "aria-label": say("downloadName", { name }) },
      say("download"));
    state.replaceChildren(link);
    announce(say("fileReady", { name }));
  } catch (error) {
    if (signal.aborted) return;
    state.replaceChildren(lineOf(error));
    announce(`${file.name}: ${lineOf(error)}`);
  }
};

const add = (file) => {
  const stop = new AbortController();
  const state = el("span", { class: "state" }, say("waiting"));
  const row = el("li", {}, el("bdi", { class: "name" }, file.name), state,
    el("button", { type: "button", class: "plain", "aria-label": say("removeName", { name: file.name }), click: () => {
      stop.abort();
      const link = state.querySelector("a");
      if (link) URL.revokeObjectURL(link.href);
      row.remove();
      byId("files").hidden = byId("file-list").children.length === 0;
    } }, say("remove")));
  byId("file-list").append(row);
  byId("files").hidden = false;
  const languages = pair();
  last = last.then(() => translate(file, languages, state, stop.signal));
};

const addAll = (files) => {
  if (model()) [...files].forEach(add);
};

export const startFiles = () => {
  const chosen = byId("chosen");
  byId("choose").addEventListener("click", () => chosen.click());
  chosen.addEventListener("change", () => {
    addAll(chosen.files);
    chosen.value = "";
  });
  const holds = (event) => event.dataTransfer?.types.includes("Files");
  const dropping = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragover", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    dropping(true);
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) dropping(false);
  });
  addEventListener("drop", (event) => {
    dropping(false);
    if (!holds(event)) return;
    event.preventDefault();
    addAll(event.dataTransfer.files);
  });
};
