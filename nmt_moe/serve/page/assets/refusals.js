// What went wrong, in the language of the reader; the rare refusals are as the server says them.

import { Away } from "./server.js";
import { say } from "./texts.js";

/** @type {Record<string, string>} */
const TEXTS = {
  busy: "refusedBusy",
  column: "refusedColumn",
  encoding: "refusedEncoding",
  expired: "refusedExpired",
  file_type: "refusedFileType",
  no_direction: "refusedDirection",
  sentence_too_long: "refusedSentence",
  slow_translation: "refusedSlow",
  too_large: "refusedTooLarge",
  too_long: "refusedTooLong",
  unavailable: "model",
};
const LIMITED = ["too_large", "too_long"]; // without the limit there is nothing to say of them

// The text of an error and its values; null: there is none but the server's line.
export const textOf = ({ code = "", limit = 0, message }) => {
  if (!Object.hasOwn(TEXTS, code) || (LIMITED.includes(code) && !limit)) return null;
  return { key: TEXTS[code], values: { limit, line: message } };
};

export const lineOf = (error) => {
  if (error instanceof Away) return say("awayShort");
  const text = textOf(error);
  return text ? say(text.key, text.values) : error.message || say("awayShort");
};
