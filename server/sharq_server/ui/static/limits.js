// Limits as they are, who set them, and what can be done about them; for a queue, a group or a type.

import * as actions from "./actions.js";
import { el } from "./element.js";
import { count, rate, until } from "./format.js";
import { button, link, panel, table } from "./parts.js";
import { session } from "./session.js";

const NAMES = { interval: "Rate", burst: "Burst", concurrency: "Concurrency", group: "Group" };
const SETTERS = { api: "the API", enqueue: "enqueues" };

function value(name, set, type) {
  if (set === null) return el("span", { class: "hint" }, name === "burst" ? "1" : "none");
  if (name === "interval") return `${rate(set)} (${count(set)} ms)`;
  return name === "group" ? link(set, "type", type, { group: set }) : count(set);
}

// The table of the values of `GET /limits/…`, and the buttons that change them.
export function limitsPanel(about, told, context) {
  const title = about.group ? `Limits of the group ${about.group}` : "Limits";
  const set = Object.keys(NAMES).filter((name) => name !== "group" || about.queue);
  const byApi = set.some((name) => told.set_by?.[name] === "api");
  return panel(
    title,
    table(
      [{ name: "Limit" }, { name: "In force" }, { name: "Set by" }],
      set.map((name) => ({ key: name, cells: [NAMES[name], value(name, told.limits?.[name] ?? null, about.type), SETTERS[told.set_by?.[name]] ?? ""] })),
      "",
    ),
    told.reason && el("p", { class: "reason" }, "“", told.reason, "”"),
    session.may("limits") &&
      el(
        "div",
        { class: "actions" },
        button("change…", () => actions.limits(about, told, context.reload)),
        byApi && button("give back…", () => actions.resetLimits(about, context.reload)),
      ),
  );
}

// Pause or resume, as far as the token allows.
export function steer(about, told, done) {
  if (!session.may("pause")) return null;
  return [
    told?.pause && button("resume…", () => actions.resume(about, done), "primary"),
    button(told?.pause ? "pause otherwise…" : "pause…", () => actions.pause(about, done)),
  ];
}

export function pauseLine(pause, now) {
  if (!pause) return null;
  const end = pause.until === null || pause.until === undefined ? "until it is resumed" : `until ${until(pause.until - now, now)}`;
  return el("p", { class: "pause" }, `Paused ${end} by ${pause.set_by === "worker" ? "a worker" : "the API"}`, pause.reason ? [": “", pause.reason, "”"] : ".");
}
