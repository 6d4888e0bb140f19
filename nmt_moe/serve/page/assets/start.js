// Translates while somebody types.

import { byId, debounced } from "./dom.js";
import { startFiles } from "./files.js";
import { learn, model, pair, startLanguages } from "./languages.js";
import { add, begin, clear, end, fade, isComplete, result, sentences } from "./output.js";
import { streamAll } from "./parts.js";
import { forget, known, startPointing } from "./pointing.js";
import { longest, models } from "./server.js";
import { announce, follow, number, say, startTexts } from "./texts.js";
import { startTheme } from "./theme.js";
import { failed, noModels, notReady, settled, startTrouble } from "./trouble.js";
import { limit, limited, put, startTyped, text } from "./typed.js";

const REST = 250; // milliseconds without a key, after which the text is translated
const SHORT = 200; // characters that each server takes at once
const SPOKEN = 300; // characters: a longer translation is not read out by itself
let running = null;
let seconds = null;

const announceSoon = debounced(700, announce);

const drawState = () => {
  const busy = running !== null;
  byId("translator").classList.toggle("busy", busy);
  byId("translation").setAttribute("aria-busy", String(busy));
  const empty = byId("translation").children.length === 0;
  byId("nothing").hidden = !empty;
  byId("copy").disabled = busy || !isComplete();
  byId("timing").textContent = seconds === null || !isComplete() ? ""
    : say("seconds", { seconds: number(seconds, { minimumFractionDigits: 2, maximumFractionDigits: 2 }) });
};

const translateSoon = debounced(REST, () => translate());

const stop = () => {
  translateSoon.stop(); // what it waits for is done now
  running?.abort();
  running = null;
  announceSoon.stop();
  forget();
};

const receive = async (signal) => {
  if (text().length > SHORT) limit(await longest());
  if (signal.aborted) return;
  const begun = performance.now();
  let first = true;
  for await (const { name, data } of streamAll(text(), limited(), pair(), model().name, signal)) {
    if (signal.aborted) return;
    if (first) begin();
    first = false;
    if (name === "sentence") add(data);
    if (name === "end") end(data.text);
    drawState();
  }
  seconds = (performance.now() - begun) / 1000;
};

const translate = async () => {
  stop();
  if (!text().trim() || !model()) {
    clear();
    drawState();
    if (model()?.state === "ready") settled();
    return;
  }
  const own = new AbortController();
  running = own;
  drawState();
  try {
    await receive(own.signal);
    if (own.signal.aborted) return;
    settled();
    known();
    const whole = result();
    announceSoon(whole.length <= SPOKEN ? whole : say("translated", { count: sentences().length }));
  } catch (error) {
    if (own.signal.aborted) return;
    fade();
    failed(error, refresh);
  } finally {
    if (running === own) running = null;
    drawState();
  }
};

// Ask which models there are, and translate.
const refresh = async () => {
  try {
    const found = await models();
    const usable = found.filter((one) => one.source); // a model that has not begun may not say
    if (!usable.length) {
      if (found.length) notReady(found.find((one) => one.state === "loading") ?? found[0], refresh);
      else noModels(refresh);
      return;
    }
    learn(usable);
  } catch (error) {
    failed(error, refresh);
    return;
  }
  if (model().state !== "ready") notReady(model(), refresh);
  else await translate();
};

const typed = () => {
  if (text().trim()) translateSoon();
  else void translate();
};

const changed = (swapped) => {
  translateSoon.stop();
  const translation = isComplete() ? result() : "";
  if (swapped && translation) put(translation);
  clear();
  if (model().state === "ready") void translate();
  else void refresh();
};

const copied = async (whole) => {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(whole);
    return;
  }
  // Without TLS a browser has this way only.
  const field = document.createElement("textarea");
  field.value = whole;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
};

const startCopy = () => {
  const button = byId("copy");
  const label = button.querySelector("[data-text]");
  const restore = debounced(1600, () => {
    label.textContent = say("copy");
  });
  button.addEventListener("click", async () => {
    try {
      await copied(result());
      label.textContent = say("copied");
    } catch {
      label.textContent = say("notCopied");
    }
    announce(label.textContent);
    button.focus();
    restore();
  });
};

startTheme();
startTexts();
startTrouble();
startLanguages(changed);
startTyped(typed);
startPointing();
startFiles();
startCopy();
follow(drawState);
void refresh();
