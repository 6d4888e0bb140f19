// Elements, numbers and texts. Text from the data only ever becomes text nodes.

export const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
};

export const missing = "–";

export const number = (value, digits = 0) =>
  value == null
    ? missing
    : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

// 12,345,678 as 12.3 M: three digits that say how much.
export const short = (value) => {
  if (value == null) return missing;
  /** @type {[number, string][]} */
  const steps = [[1e12, "\u00a0T"], [1e9, "\u00a0G"], [1e6, "\u00a0M"], [1e3, "\u00a0k"]];
  const [unit, name] = steps.find(([size]) => Math.abs(value) >= size * 0.9995) ?? [1, ""];
  const scaled = value / unit;
  const digits = unit === 1 && Number.isInteger(value) ? 0 : scaled < 10 ? 2 : scaled < 100 ? 1 : 0;
  return number(scaled, digits) + name;
};

// At least two digits of small numbers: 0.0031, 0.25, 12.3, 1,234.
export const figure = (value) => {
  if (value == null) return missing;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 0.0001) return value.toExponential(1);
  return number(value, size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 4);
};

// The space before a unit does not break.
export const percent = (value, digits = 1) =>
  value == null ? missing : `${number(100 * value, digits)}\u00a0%`;

export const signed = (value, text) => (value > 0 ? `+${text(value)}` : value < 0 ? `−${text(-value)}` : "0");

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

export const collator = new Intl.Collator("en");

export const sum = (values) => values.reduce((total, value) => total + value, 0);

export const mean = (values) => sum(values) / values.length;

export const chunks = (flat, size) =>
  Array.from({ length: flat.length / size }, (_, i) => flat.slice(i * size, (i + 1) * size));

export const heading = (level, text, attributes = {}) => el(`h${level}`, attributes, text);

export const section = (id, title, level, ...children) =>
  el("section", { id, "aria-labelledby": `${id}-title` },
    heading(level, title, { id: `${id}-title` }), ...children);

export const note = (text) => el("p", { class: "note" }, text);

// Pairs of a name and a figure, or of a name, a figure and what it is to be compared with.
export const cards = (rows) =>
  el("dl", { class: "cards" }, rows.filter(Boolean).map(([name, value, more]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, value),
      more ? el("dd", { class: "more" }, more) : null)));

export const facts = (rows) => el("dl", { class: "facts" }, rows.map(([name, value]) =>
  el("div", {}, el("dt", {}, name), el("dd", {}, value))));

// The first column names the row; a cell is a text, or a node.
export const table = (caption, heads, rows) =>
  el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el("table", {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, rows.map(([first, ...cells]) =>
        el("tr", {}, el("th", { scope: "row" }, first), cells.map((cell) => el("td", {}, cell)))))));

// Buttons of which one is pressed; `choose` gets its number.
export const choices = (label, names, choose) => {
  const buttons = names.map((name, i) =>
    el("button", { type: "button", click: () => select(i) }, name));
  const select = (chosen) => {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", i === chosen));
    choose(chosen);
  };
  buttons.forEach((button, i) => button.setAttribute("aria-pressed", i === 0));
  return { node: el("div", { class: "choices", role: "group", "aria-label": label }, buttons), select };
};

export const debounced = (wait, run) => {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, wait);
  };
};
