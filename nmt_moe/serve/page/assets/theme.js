// Light or dark: as the system is, until its reader chooses.

import { byId, remembered } from "./dom.js";

export const startTheme = () => {
  const button = byId("dark");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const show = () => {
    const chosen = remembered.get("theme");
    if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
    button.setAttribute("aria-checked", String(chosen ? chosen === "dark" : system.matches));
  };
  button.addEventListener("click", () => {
    remembered.set("theme", button.getAttribute("aria-checked") === "true" ? "light" : "dark");
    show();
  });
  system.addEventListener("change", show);
  show();
};
