// The REST API: one request, its answer or its error, and its line for curl.

import { read } from "./json.js";
import { API } from "./place.js";
import { session } from "./session.js";

// An error of the server, or none of it: `code` is "unreachable" then.
export class Failure extends Error {
  constructor(status, code, message, expected) {
    super(expected ? `${message} Expected: ${expected}.` : message);
    this.status = status;
    this.code = code;
  }
}

let onUnauthorized = () => {};

// Have `ask` called whenever the server does not take the token.
export function unauthorized(ask) {
  onUnauthorized = ask;
}

// `{method, path, query, body}` to its answer's value; throws Failure. `path` is below the API's root.
export async function call(request, quietly = false) {
  const { method = "GET", body } = request;
  const headers = {};
  const secret = session.token;
  if (secret) headers.Authorization = `Bearer ${secret}`;
  let answer, text;
  try {
    answer = await fetch(urlOf(request), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
    text = await answer.text();
  } catch {
    throw new Failure(0, "unreachable", "The server does not answer.");
  }
  let told;
  try {
    told = read(text);
  } catch {
    throw new Failure(answer.status, "unreadable", `The answer (${answer.status}) is not of SharQ.`);
  }
  if (answer.ok) return told;
  if (answer.status === 401 && secret === session.token && !quietly) onUnauthorized(secret !== null);
  throw new Failure(answer.status, told.code ?? "unreadable", told.message ?? "No answer.", told.expected);
}

export function get(path, query) {
  return call({ path, query });
}

function urlOf({ path, query }) {
  const url = new URL(path, API);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  return url;
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

// The same request for a shell. The token is not in it: it is the variable that the command `sharq` takes, too.
export function curl(request) {
  const { method = "GET", body } = request;
  const parts = [method === "GET" ? "curl" : `curl -X ${method}`, quoted(urlOf(request).href)];
  if (session.config.tokens) parts.push('-H "Authorization: Bearer $SHARQ_TOKEN"');
  if (body !== undefined) parts.push(`-d ${quoted(JSON.stringify(body))}`);
  return parts.join(" ");
}
