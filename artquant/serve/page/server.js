// The server's own routes. Whatever goes wrong is a ServerError with one of the codes that texts/*.json explain.

import { sessionToken } from "./kept.js";
import { readEvents } from "./events.js";

const CODES = ["too_large", "unreadable", "busy", "loading", "not_trained", "bad_request", "unauthorised"];
const BY_STATUS = {
  400: "bad_request", 401: "unauthorised", 409: "not_trained", 413: "too_large", 415: "unreadable", 422: "unreadable",
  429: "busy", 503: "loading",
};
const LONGEST_WAIT = 60; // seconds that a Retry-After is believed

export class ServerError extends Error {
  /** code: as the server's, or "offline", "gone" (the file), "unknown". wait: seconds until it may be asked again. */
  constructor(code, message = "", wait = null) {
    super(message);
    this.code = code;
    this.wait = wait;
  }
}

/** An error of a picture or a stream, as the server says it. */
export function toldError(told, otherwise = "unknown", wait = null) {
  const code = CODES.includes(told?.code) ? told.code : otherwise;
  return new ServerError(code, typeof told?.message === "string" ? told.message.slice(0, 500) : "", wait);
}

async function refusal(reply) {
  const told = await reply.json().catch(() => null);
  const wait = Number(reply.headers.get("Retry-After"));
  const seconds = wait > 0 ? Math.min(wait, LONGEST_WAIT) : 1;
  return toldError(told?.error, BY_STATUS[reply.status], reply.status === 429 || reply.status === 503 ? seconds : null);
}

async function ask(route, options = {}) {
  const token = sessionToken();
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let reply;
  try {
    reply = await fetch(route, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("offline");
  }
  if (!reply.ok) throw await refusal(reply);
  return reply;
}

async function answer(route, options) {
  const reply = await ask(route, options);
  try {
    return await reply.json();
  } catch {
    throw new ServerError("unknown");
  }
}

async function form(field, file) {
  const isThere = await file.slice(0, 1).arrayBuffer().catch(() => null);
  if (!isThere) throw new ServerError("gone"); // moved or changed since it was chosen
  const body = new FormData();
  body.append(field, file, file.name);
  return body;
}

export const health = () => answer("v1/health");
export const modelFacts = () => answer("v1/model");

/** Score, spread, shares and attributes of one picture. */
export async function score(file, attributes) {
  const told = await answer(`v1/score?attributes=${attributes}`, { method: "POST", body: await form("images", file) });
  const result = told.results?.[0];
  if (result?.error) throw toldError(result.error);
  if (!Number.isFinite(result?.score)) throw new ServerError("unknown");
  return result;
}

/**
 * Stream a description.
 * onPiece: gets each piece `{level, text}`. Returns the whole text where the server repeats it, else null.
 */
export async function describe(file, level, signal, onPiece) {
  const reply = await ask(`v1/describe?level=${level}`, { method: "POST", body: await form("image", file), signal });
  for await (const { name, data } of readEvents(reply.body)) {
    if (name === "text") onPiece(data);
    if (name === "error") throw toldError(data.error ?? data);
    if (name === "done") return typeof data.text === "string" ? data.text : null;
  }
  throw new ServerError("offline"); // the stream ended before it was done
}
