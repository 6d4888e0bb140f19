// Which column of a table is to be translated: a field in the row of its file.

import { el } from "./dom.js";
import { say } from "./texts.js";

const START = 2 ** 14; // bytes of a file, in which its first line is looked for
let rows = 0;

// Whether a file is one, as the server tells them.
export const isTable = (name) => /\.(tsv|tab)$/i.test(name);

// The names in the first line, to be chosen from.
const offer = async (file, list) => {
  const [first] = (await file.slice(0, START).text().catch(() => "")).split(/\r?\n/, 1);
  list.replaceChildren(...first.split("\t").map((name, i) =>
    el("option", { value: String(i + 1) }, name.trim().slice(0, 60))));
};

// A form for a file, with what was wrong with the column that was given before; `use` gets another.
export const columnForm = (file, before, wrong, use) => {
  rows += 1;
  const list = el("datalist", { id: `columns-${rows}` });
  void offer(file, list);
  const field = el("input", {
    id: `column-${rows}`, list: list.id, required: true, maxlength: 200, autocomplete: "off", spellcheck: "false",
    "aria-invalid": wrong ? "true" : null, "aria-describedby": wrong ? `wrong-${rows}` : null,
  });
  field.value = before;
  const form = el("form", { class: "column", submit: (event) => {
    event.preventDefault();
    if (field.value.trim()) use(field.value.trim());
  } },
  wrong ? el("p", { id: `wrong-${rows}` }, wrong) : null,
  el("div", {}, el("label", { for: field.id }, say("column")), field, list,
    el("button", { type: "submit", class: "plain" }, say("translateColumn"))));
  return { form, field };
};
