// What a reader asks first: the scores, and translations beside those of people.

import { cards, el, facts, heading, missing, note, number, plural, section } from "./base.js";

const GROUPS = { best: "Best", middle: "In the middle", worst: "Worst" };

const interval = ({ low, high }) =>
  low == null || high == null ? null : `95%: ${number(low, 2)} to ${number(high, 2)}`;

export const scores = ({ scores: found, count }) => section("scores", "Scores", 2,
  cards(Object.entries(found).map(([name, score]) => [name, number(score.value, 2), interval(score)])),
  el("p", {}, `They compare ${plural(count, "translation")} with references by people. Equal text has 100 in ` +
    "BLEU and chrF, and 0 in TER, which counts edits. In 95 of 100 test sets, drawn by chance from these " +
    "sentences, the score is in the interval: differences that are small beside it may be chance."),
  heading(3, "Signatures"),
  facts(Object.entries(found).map(([name, { signature }]) => [name, signature])));

// Each text has the direction of its own letters, and the glyphs of its language.
const text = (name, words, language) => el("div", {}, el("dt", {}, name),
  el("dd", { dir: "auto", lang: language?.replace(/_/g, "-") }, words.trim() || missing));

const translation = (found, [source, target]) => el("li", {}, el("dl", { class: "translation" },
  el("div", {}, el("dt", {}, found.name), el("dd", {}, number(found.score, 1))),
  text("Source", found.source, source),
  text("Translation", found.hypothesis, target),
  text("Reference", found.reference, target)));

export const translations = ({ translations: found, languages }) =>
  section("translations", "Translations", 2,
    note("References are by people. Other words can be right as well, which the score of a sentence does not know."),
    Object.entries(GROUPS).filter(([group]) => found[group].length).map(([group, title]) => [
      heading(3, title),
      el("ol", { class: "translations" }, found[group].map((sentence) =>
        translation({ ...sentence, name: found.sentence_score }, languages))),
    ]).flat());
