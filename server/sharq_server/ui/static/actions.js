// What an operator can do to queues, groups and types: for each action its question and its request.
//
// Each takes what it is about and `done`, which is called when it is done.

import { call } from "./api.js";
import { ask } from "./dialog.js";
import { clock, count, many, rate, span } from "./format.js";
import { session } from "./session.js";

// A type, a group or a queue: `{type, queue}` or `{type, group}`.
function level({ type, queue, group }) {
  if (queue) return { words: `the queue ${type}/${queue}`, path: (verb) => `${verb}/${type}/${queue}/`, query: {} };
  const words = group ? `the group ${group} of ${type}` : `the type ${type}`;
  return { words, path: (verb) => `${verb}/${type}/`, query: group ? { group } : {} };
}

const TIMES = [["", "until it is resumed"], ["60000", "1 minute"], ["300000", "5 minutes"], ["1800000", "30 minutes"], ["3600000", "1 hour"], ["86400000", "1 day"]];

export function pause(about, done) {
  const { words, path, query } = level(about);
  ask({
    title: `Pause ${words}`,
    about: ["Nothing more is dispatched. Jobs are taken in, and leases go on."],
    fields: [
      { name: "for", label: "For", options: TIMES },
      { name: "reason", label: "Reason", hint: "For people: it is shown with the pause." },
    ],
    verb: "pause",
    request: (given) => {
      const body = {};
      if (given.for) body.for = Number(given.for);
      if (given.reason) body.reason = given.reason;
      return { method: "POST", path: path("pause"), query, body };
    },
    done: () => (done(), `Paused: ${words}.`),
  });
}

export function resume(about, done) {
  const { words, path, query } = level(about);
  ask({
    title: `Resume ${words}`,
    about: ["Dispatches go on at once, as far as its limits allow."],
    verb: "resume",
    request: () => ({ method: "POST", path: path("resume"), query }),
    done: () => (done(), `Resumed: ${words}.`),
  });
}

// "drains 14:32 → 15:10": when the jobs that wait will be gone, as it is and as it would be.
function foreseen({ drains_in: after, drained_in_before: before, estimated }) {
  if (after === 0 && before === 0) return "Nothing waits: it changes what comes.";
  const now = session.now;
  const at = (ms) => (ms === null ? "when leases end" : clock(now + ms, now, ms < 600_000));
  const times = [before, after].map((ms) => (ms === null ? "?" : span(ms))).join(" → ");
  return `Drains ${at(before)} → ${at(after)} (${times}${estimated ? ", an estimate" : ""}).`;
}

const VALUES = {
  interval: ["Interval, ms", /^\d{1,11}(\.\d{1,3})?$/, "a time in ms, with up to three decimals"],
  burst: ["Burst", /^[1-9]\d{0,6}$/, "a whole number, 1 to 1,000,000"],
  concurrency: ["Concurrency", /^[1-9]\d{0,6}$/, "a whole number, 1 to 1,000,000"],
  group: ["Group", /^[A-Za-z0-9_-]{1,100}$/, "a name"],
};

// `now` is the answer of GET /limits/…, or what is watched of it, where none is absent. A field left empty changes
// nothing.
export function limits(about, now, done) {
  const { words, path, query } = level(about);
  const names = Object.keys(VALUES).filter((name) => name !== "group" || about.queue);
  const setBy = (name) => now.set_by?.[name];
  const current = (name) => {
    const value = now.limits?.[name] ?? null;
    if (value === null) return "none";
    return name === "interval" ? `${count(value)}: ${rate(value)}` : String(value);
  };
  ask({
    title: `Limits of ${words}`,
    fields: [
      ...names.flatMap((name) => [
        { name, label: VALUES[name][0], inputmode: name === "group" ? "text" : "decimal", hint: { placeholder: current(name), text: `Now ${current(name)}${setBy(name) ? `, set by ${setBy(name)}` : ""}. Empty: as it is.` } },
        ...(setBy(name) === "api" ? [{ name: `back-${name}`, label: `give ${name} back`, kind: "checkbox" }] : []),
      ]),
      { name: "reason", label: "Reason", value: now.reason ?? "", hint: "For people: it is shown with the limits." },
    ],
    verb: "set",
    request: (given) => {
      const body = {};
      for (const name of names) {
        const [label, form, expected] = VALUES[name];
        if (given[`back-${name}`]) body[name] = null;
        else if (given[name]) {
          if (!form.test(given[name])) throw new Error(`${label}: ${expected}.`);
          body[name] = name === "group" ? given[name] : Number(given[name]);
        }
      }
      if (!Object.keys(body).length && given.reason === (now.reason ?? "")) throw new Error("Nothing is changed yet.");
      if (given.reason !== (now.reason ?? "")) body.reason = given.reason || null;
      return { method: "POST", path: path("limits"), query, body };
    },
    preview: async (wanted) => {
      const { reason: _, ...body } = wanted.body;
      if (!Object.keys(body).length) return "";
      return foreseen(await call({ ...wanted, body, query: { ...query, dry_run: "true" } }, true));
    },
    done: () => (done(), `The limits of ${words} are set.`),
  });
}

export function resetLimits(about, done) {
  const { words, path, query } = level(about);
  ask({
    title: `Give the limits of ${words} back`,
    about: ["All limits that were set through the API end. What enqueues set counts again."],
    danger: true,
    verb: "give back",
    request: () => ({ method: "DELETE", path: path("limits"), query }),
    done: () => (done(), `The limits of ${words} were given back.`),
  });
}

export function clear({ type, queue }, waiting, done) {
  ask({
    title: `Delete the waiting jobs of ${type}/${queue}`,
    about: [`${many(waiting, "job")} ${waiting === 1 ? "waits" : "wait"} now, and will be gone for good. Leased ones may still be finished.`],
    danger: true,
    verb: `delete ${many(waiting, "job")}`,
    request: () => ({ method: "DELETE", path: `deletequeue/${type}/${queue}/` }),
    done: (answer) => (done(), answer.message),
  });
}
