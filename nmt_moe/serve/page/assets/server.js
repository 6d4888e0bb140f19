// Asking the server. All addresses are relative: it may stand behind another one's folder.

import { untilClosed } from "./dom.js";

// Nobody answers.
export const Away = class extends Error {};

// It answers, but not with what was asked for: `said` is a line, a code and what limit was passed.
export const Refused = class extends Error {
  constructor(status, said, wait) {
    super(typeof said?.error === "string" ? said.error : "");
    this.status = status;
    this.code = String(said?.code ?? "");
    this.limit = Number(said?.limit) || 0;
    this.wait = wait;
  }
};

export const useToken = (token) => untilClosed.set("token", token);

export const hasToken = () => Boolean(untilClosed.get("token"));

export const request = async (path, { body = null, signal = null } = {}) => {
  const token = untilClosed.get("token");
  /** @type {Record<string, string>} */
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (typeof body === "string") headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method: body === null ? "GET" : "POST", headers, body, signal, cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Away(error.message);
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => null);
  const error = new Refused(answer.status, said, Number(answer.headers.get("Retry-After")) || 0);
  // A server in front of it says that nobody is behind.
  if (!error.message && [502, 504].includes(answer.status)) throw new Away();
  throw error;
};

const json = async (path, given = null, signal = null) => {
  const answer = await request(path, { body: given && JSON.stringify(given), signal });
  try {
    return await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Away(error.message);
  }
};

// What the server says of itself; null: nothing.
const settings = () => json("frontend/settings").catch(() => null);

// Whether a refusal can be for want of a token; a server may have other reasons.
export const takesTokens = async () => Boolean((await settings())?.keyRequired ?? true);

// Characters that it translates at once, as far as it says.
export const longest = async () => (await settings())?.charLimit || Infinity;

export const models = (signal) => json("api/models", null, signal);

export const explain = (given, signal) => json("api/explain", given, signal);

// One event of a stream: its name, and its data.
const parsed = (block) => {
  let name = "message";
  const data = [];
  for (const line of block.split(/\r\n|\r|\n/)) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
  return { name, data: data.length ? JSON.parse(data.join("\n")) : null };
};

// The events of a translation, as they come; an error of the stream is thrown.
export const stream = async function* (given, signal) {
  const answer = await request("api/stream", { body: JSON.stringify(given), signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      held += value;
      const blocks = held.split(/\r\n\r\n|\n\n|\r\r/);
      held = blocks.pop();
      for (const block of blocks) {
        const event = parsed(block);
        if (event.name === "error") throw new Refused(503, event.data, 0);
        if (event.data) yield event;
        if (event.name === "end") return;
      }
    }
  } catch (error) {
    if (signal.aborted || error instanceof Refused) throw error;
    throw new Away(error.message);
  } finally {
    reader.cancel().catch(() => {});
  }
  throw new Away();
};

// A file's translation as a blob; of a table, that of a column.
export const translateFile = async (file, { source, target }, column, signal) => {
  const form = new FormData();
  form.append("file", file);
  form.append("source", source);
  form.append("target", target);
  if (column) form.append("column", column);
  const answer = await request("translate_file", { body: form, signal });
  const { translatedFileUrl } = await answer.json();
  // What it says of its own address may not be how it is reached from here.
  const name = new URL(translatedFileUrl, location.href).pathname.split("/").pop();
  return (await request(`download_file/${name}`, { signal })).blob();
};
