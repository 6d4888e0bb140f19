// One line about what is wrong, and the way out of it: asking again, or a token.

import { byId, pause } from "./dom.js";
import { textOf } from "./refusals.js";
import { Away, Refused, hasToken, takesTokens, useToken } from "./server.js";
import { follow, say } from "./texts.js";

const FIRST = 1000;
const LONGEST = 8000; // milliseconds between two tries
const SLOW = "slow_translation"; // the same again would take as long
let shown = null;
let retrying = null;

const write = () => {
  byId("trouble").hidden = shown === null;
  byId("trouble-line").textContent = shown === null ? "" : say(shown.key, shown.values);
  byId("retry").hidden = !shown?.again;
};

const show = (key, values, again) => {
  const same = shown?.key === key && shown?.values.line === values.line;
  shown = { key, values, again };
  if (!same) write(); // or it would be read out anew at each try
};

const giveUp = () => {
  retrying?.abort();
  retrying = null;
};

export const settled = () => {
  giveUp();
  if (shown === null) return;
  shown = null;
  write();
};

const askToken = (again) => {
  const dialog = byId("token-dialog");
  show(hasToken() ? "forbidden" : "denied", {}, () => askToken(again));
  if (dialog.open) return;
  byId("token").value = "";
  dialog.onclose = () => {
    if (dialog.returnValue !== "used") return;
    useToken(byId("token").value.trim());
    dialog.returnValue = "";
    again();
  };
  dialog.showModal();
};

// Try again by itself until `again` has called `settled`, each time a bit later; or steadily, where
// it is a matter of time.
const keepTrying = async (again, first, steady = false) => {
  if (retrying && !steady) return;
  giveUp();
  const own = new AbortController();
  retrying = own;
  for (let wait = first; !own.signal.aborted; wait = steady ? wait : Math.min(2 * wait, LONGEST)) {
    await pause(wait, own.signal);
    if (!own.signal.aborted) await again();
  }
};

const refused = async (error, again) => {
  giveUp();
  if (error.status === 401 || (error.status === 403 && await takesTokens())) askToken(again);
  else {
    const { key, values } = textOf(error) ?? { key: "refused", values: { line: error.message || String(error.status) } };
    show(key, values, error.code === SLOW ? again : null);
  }
};

// What went wrong with a request; `again` repeats it, and its failure comes here, too.
export const failed = (error, again) => {
  if (error.name === "AbortError") return;
  if (error instanceof Refused && (error.code === SLOW || ![429, 500, 502, 503, 504].includes(error.status))) {
    void refused(error, again);
    return;
  }
  if (error instanceof Away) show("away", {}, again);
  else if (!(error instanceof Refused)) throw error;
  else if (error.status === 429) show("busy", {}, again);
  else if (error.message) show("model", { line: error.message }, again);
  else show("away", {}, again);
  const wait = error instanceof Refused ? 1000 * error.wait : 0;
  void keepTrying(again, wait || FIRST);
};

export const notReady = (model, again) => {
  const loading = model.state === "loading";
  if (loading) show("loading", {}, null);
  else show("model", { line: model.error ?? model.name }, again);
  void keepTrying(again, FIRST, loading);
};

export const noModels = (again) => {
  show("none", {}, again);
  void keepTrying(again, FIRST);
};

export const startTrouble = () => {
  follow(write);
  byId("retry").addEventListener("click", () => shown?.again?.());
  byId("token-dialog").querySelector("form").addEventListener("submit", () => {
    byId("token-dialog").returnValue = "used";
  });
  byId("token-use").value = "used";
  byId("token-cancel").addEventListener("click", () => byId("token-dialog").close(""));
};
