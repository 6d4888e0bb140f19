// Files that are dropped on the page, or chosen: translated one after the other.

import { columnForm, isTable } from "./columns.js";
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

// A row of the list: its file, the languages that were chosen for it, and what stands of it there.
const translate = async (row, column) => {
  const { file, languages, state, signal } = row;
  if (signal.aborted) return;
  state.replaceChildren(say("translatingFile"));
  try {
    const blob = await translateFile(file, languages, column, signal);
    const name = named(file.name, languages.target);
    const link = el("a", { href: URL.createObjectURL(blob), download: name, "aria-label": say("downloadName", { name }) },
      say("download"));
    state.replaceChildren(link);
    announce(say("fileReady", { name }));
  } catch (error) {
    if (signal.aborted) return;
    announce(`${file.name}: ${lineOf(error)}`);
    if (isTable(file.name) || error.code === "column") askColumn(row, column, lineOf(error));
    else state.replaceChildren(lineOf(error));
  }
};

const queue = (row, column) => {
  row.state.replaceChildren(say("waiting"));
  last = last.then(() => translate(row, column));
};

// The other files do not wait for the answer.
const askColumn = (row, before, wrong) => {
  const { form, field } = columnForm(row.file, before, wrong, (column) => {
    row.remove.focus(); // the field goes
    queue(row, column);
  });
  row.state.replaceChildren(form);
  if (document.activeElement === row.remove) field.focus();
};

const add = (file) => {
  const stop = new AbortController();
  const state = el("span", { class: "state" });
  const remove = el("button", { type: "button", class: "plain", "aria-label": say("removeName", { name: file.name }), click: () => {
    stop.abort();
    const link = state.querySelector("a");
    if (link) URL.revokeObjectURL(link.href);
    item.remove();
    byId("files").hidden = byId("file-list").children.length === 0;
  } }, say("remove"));
  const item = el("li", {}, el("bdi", { class: "name" }, file.name), state, remove);
  byId("file-list").append(item);
  byId("files").hidden = false;
  const row = { file, languages: pair(), state, remove, signal: stop.signal };
  if (isTable(file.name)) {
    askColumn(row, "", "");
    announce(say("columnAsked", { name: file.name }));
  } else queue(row, "");
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
