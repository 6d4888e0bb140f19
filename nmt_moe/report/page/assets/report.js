// The sections of a report, or of two reports side by side.

import { balance, balances } from "./balance.js";
import { choices, el, heading, section } from "./base.js";
import { names, store } from "./data.js";
import { startExpert } from "./expert.js";
import { experts } from "./experts.js";
import { models } from "./model.js";
import { attention, overview, summary, without } from "./overview.js";
import { page } from "./page.js";
import { sentences } from "./sentences.js";
import { specialisation } from "./specialisation.js";
import { scores, translations } from "./translations.js";

const single = (view) => {
  const { content } = view;
  const first = content.translations
    ? [scores(content.translations), translations(content), attention(content)] : [];
  return [
    ...first,
    overview(content, "overview", 2),
    models([content], [content.checkpoint]),
    balance(content, "balance", 2),
    experts(view, "experts", 2),
    specialisation([content], [content.checkpoint]),
    sentences(view, "sentences", 2),
  ];
};

const details = (views) => {
  const panels = views.map((view, i) => el("div", { class: "detail-panel", hidden: i > 0 },
    heading(3, names[i], { class: "only-print" }),
    without(view.content),
    ...[balance(view.content, `${view.prefix}balance`, 3), experts(view, `${view.prefix}experts`, 3),
      sentences(view, `${view.prefix}sentences`, 3)].filter(Boolean)));
  const pick = choices("Checkpoint", names,
    (chosen) => panels.forEach((panel, i) => { panel.hidden = i !== chosen; }));
  return section("details", "Details of each", 2, pick.node, panels);
};

export const report = () => {
  const views = store.contents.map((content, index) =>
    ({ content, index, prefix: store.contents.length > 1 ? `${"ab"[index]}-` : "" }));
  const { contents } = store;
  const sections = contents.length === 1 ? single(views[0])
    : [summary(contents, names), models(contents, names), balances(contents, names),
      specialisation(contents, names), details(views)];
  page(contents.length > 1 ? names.join(" and ") : names[0],
    contents.length > 1 ? "Two checkpoints side by side"
      : contents[0].translations ? "How it translates, and what its experts do" : "What the experts do",
    sections.filter(Boolean));
  startExpert(views);
};
