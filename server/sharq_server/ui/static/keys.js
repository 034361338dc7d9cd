// The keyboard: single keys where nobody types, and the help that lists them.

import { open } from "./dialog.js";
import { el } from "./element.js";
import { path } from "./place.js";

const WAIT = 1000;
const HELP = [
  ["/", "search: on this page, or for a type, queue or job"],
  ["g o", "overview"],
  ["g d", "dead letters"],
  ["g w", "workers"],
  ["p", "pause, or go on"],
  ["r", "read again"],
  ["?", "this help"],
  ["Esc", "close; leave a field"],
];
const PLACES = { o: [], d: ["dead"], w: ["workers"] };

export function listen({ visit, togglePause, reload }) {
  let begun = 0;
  addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.metaKey || event.ctrlKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (target.matches?.("input, select, textarea")) {
      if (key === "Escape") target.blur();
      return;
    }
    const after = begun && event.timeStamp - begun < WAIT;
    begun = 0;
    if (after && key in PLACES) visit(path(...PLACES[key]));
    else if (key === "g") begun = event.timeStamp;
    else if (key === "/") (document.querySelector("[data-search]") ?? document.querySelector("[name=where]"))?.focus();
    else if (key === "p") togglePause();
    else if (key === "r") reload();
    else if (key === "?") help();
    else return;
    event.preventDefault();
  });
}

function help() {
  const close = el("button", { type: "button", onclick: () => dialog.close() }, "close");
  const dialog = open([
    el("h2", null, "Keys"),
    el("dl", { class: "keys" }, HELP.map(([keys, what]) => [el("dt", null, keys.split(" ").map((key) => el("kbd", null, key))), el("dd", null, what)])),
    el("div", { class: "buttons" }, close),
  ]);
}
