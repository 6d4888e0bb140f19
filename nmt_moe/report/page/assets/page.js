// The frame of a page: its title, its sections, and the links to them.

import { el, heading } from "./base.js";

export const page = (title, subtitle, sections) => {
  document.getElementById("top").append(el("p", {}, subtitle), heading(1, title));
  document.getElementById("page").append(...sections);
  document.getElementById("sections").append(el("ul", {}, sections.map((node) =>
    el("li", {}, el("a", { href: `#${node.id}` }, node.querySelector("h2").textContent)))));
};
