// What several pages are made of.

import { el } from "./element.js";
import { clock, count, seconds, span, until } from "./format.js";
import { path } from "./place.js";

// A number with its name, and a note below.
export function stat(name, value, note, kind = "") {
  return el("div", { class: `stat ${kind}` }, el("dt", null, name), el("dd", null, value), note && el("p", null, note));
}

export function stats(...parts) {
  return el("dl", { class: "stats" }, parts);
}

export function link(text, ...place) {
  return el("a", { href: path(...place) }, text);
}

export function panel(title, ...children) {
  return el("section", { class: "panel", "data-key": `panel ${title}` }, el("h2", null, title), children);
}

// A table: columns are `{name, kind, title}`, rows lists of cells with a `key`. `kind` is "n" for numbers, "wide" for
// what a phone leaves out.
export function table(columns, rows, empty) {
  if (!rows.length) return el("p", { class: "empty" }, empty);
  return el(
    "div",
    { class: "scroll", tabindex: 0 },
    el(
      "table",
      null,
      el("thead", null, el("tr", null, columns.map((each) => el("th", { class: each.kind, title: each.title }, each.name)))),
      el(
        "tbody",
        null,
        rows.map(({ key, cells, kind }) =>
          el("tr", { "data-key": key, class: kind }, cells.map((cell, at) => el("td", { class: columns[at].kind }, cell))),
        ),
      ),
    ),
  );
}

export function button(text, onclick, kind = "", more = {}) {
  return el("button", { type: "button", class: kind, onclick, ...more }, text);
}

// What there is instead of data: a heading, and what to do.
export function instead(title, ...advice) {
  return el("div", { class: "instead" }, el("h2", null, title), advice.map((line) => el("p", null, typeof line === "string" ? quoted(line) : line)));
}

// A text with what is between backticks as code.
function quoted(text) {
  return text.split("`").map((part, at) => (at % 2 ? el("code", null, part) : part));
}

// Choices of which one is taken, as links that keep the rest of the address.
export function choices(label, current, options) {
  return el(
    "nav",
    { class: "choices", "aria-label": label },
    options.map(([value, text, place]) =>
      el("a", { href: path(...place), "aria-current": value === current ? "true" : null }, text),
    ),
  );
}

const HOLDERS = {
  interval: ["its rate", "the rate"],
  concurrency: ["its concurrency", "the concurrency"],
  paused: ["its pause", "the pause"],
};

// Who holds back, in words: "type_paused" is "the pause of the type".
export function holder(heldBy) {
  if (heldBy === "delay") return "the delay of its jobs";
  const [, level, what] = /^(?:(group|type)_)?(.*)$/.exec(heldBy);
  const words = HOLDERS[what];
  if (!words) return heldBy;
  return level ? `${words[1]} of ${level === "group" ? "its group" : "the type"}` : words[0];
}

// How it ends where no time can be told.
function openEnd(heldBy) {
  if (heldBy.endsWith("paused")) return "until it is resumed";
  return heldBy.endsWith("concurrency") ? "until a lease ends" : "";
}

export function stateOf(heldBy) {
  if (!heldBy) return "idle";
  if (heldBy === "nothing") return "ready";
  return heldBy.endsWith("paused") ? "paused" : "held";
}

// What holds something back and until when, in a line. `readyIn` (ms) is null where nobody can tell.
export function held(heldBy, readyIn, now) {
  const kind = stateOf(heldBy);
  const mark = el("i", { class: `mark ${kind}`, "aria-hidden": "true" });
  if (kind === "idle") return el("span", { class: "held idle" }, mark, "nothing waits");
  if (kind === "ready") return el("span", { class: "held ready" }, mark, "ready");
  let end = openEnd(heldBy);
  if (readyIn !== null && readyIn !== undefined && !(heldBy.endsWith("concurrency") && readyIn <= 0)) {
    end = readyIn <= 0 ? "for a moment" : `until ${until(readyIn, now)}`;
  }
  const left = readyIn > 0 ? el("span", { class: "left" }, seconds(readyIn)) : null;
  return el("span", { class: `held ${kind}` }, mark, el("span", null, `${holder(heldBy)} ${end}`), left);
}

export function ago(ms) {
  return ms === null || ms === undefined ? "" : `${seconds(ms)} ago`;
}

// A time with how long ago it was.
export function moment(at, now) {
  if (at === null || at === undefined) return "";
  return el("time", { datetime: new Date(at).toISOString(), title: ago(Math.max(0, now - at)) }, clock(at, now));
}

export { count, span };
