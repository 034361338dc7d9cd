// A type: which of its queues wait longest, and what lets them go?

import { get } from "./api.js";
import { lastMinute, legend, lines } from "./chart.js";
import { el } from "./element.js";
import { clock, count, many, rate, seconds, span } from "./format.js";
import { limitsPanel, pauseLine, steer } from "./limits.js";
import { choices, held, link, panel, stat, stateOf, stats, table } from "./parts.js";
import { isName } from "./place.js";

const TOPS = { backlog: "by backlog", oldest: "longest ready", drain: "by time until drained" };
const COLUMNS = [
  { name: "Queue" },
  { name: "Waiting", kind: "n" },
  { name: "Active", kind: "n wide" },
  { name: "Next goes", title: "When all limits allow its next job, and what holds it until then" },
  { name: "Rate", kind: "wide" },
  { name: "Drained in", kind: "n", title: "When its last job goes by the rates and pauses of the queue, its group and the type, if it had those for itself" },
  { name: "Group", kind: "wide" },
];
const PAGE = 100;

// A search goes on until so many more queues are found, or so many pages were read.
const ENOUGH = 50;
const MOST_PAGES = 100;

export default function type(context) {
  const [name] = context.names;
  const { query } = context;
  const topic = `type/${name}`;
  let found = null;
  let group = null;
  let asked = 0;

  function load() {
    search();
    showGroup();
  }

  async function search(cursor = null) {
    const prefix = query.prefix ?? "";
    const mine = ++asked;
    if (!prefix) {
      found = null;
      return context.redraw();
    }
    if (!isName(prefix)) {
      found = { ids: [], cursor: null, problem: "A queue's id has letters, digits, - and _." };
      return context.redraw();
    }
    const ids = cursor === null ? [] : found.ids;
    if (cursor !== null) {
      found.looking = true;
      context.redraw();
    }
    try {
      // The store looks at some queues at a time: a page has those among them, few or none.
      const enough = ids.length + ENOUGH;
      let page;
      let pages = 0;
      do {
        page = await get(`metrics/${name}/`, { prefix, count: PAGE, cursor });
        if (mine !== asked) return;
        ids.push(...page.queue_ids.filter((id) => id.startsWith(prefix)));
        cursor = page.cursor;
        found = { ids, cursor, problem: null, looking: cursor !== null && ids.length < enough };
        context.redraw();
        pages += 1;
      } while (cursor !== null && ids.length < enough && pages < MOST_PAGES);
      found.looking = false;
    } catch (error) {
      found = { ids, cursor: null, problem: error.message };
    }
    context.redraw();
  }

  async function showGroup() {
    group = null;
    if (!query.group) return;
    try {
      group = await get(`limits/${name}/`, { group: query.group });
    } catch (error) {
      group = { problem: error.message };
    }
    context.redraw();
  }

  function changed(before) {
    if (before.group !== query.group) showGroup();
  }

  function view() {
    const known = context.topic(topic)?.data;
    if (!known) return [context.missing(topic), searching()];
    const { limits } = known;
    return [
      state(known),
      el("div", { class: "actions" }, steer({ type: name }, limits, context.reload), el("span", { class: "gap" }), link(`${count(known.dead ?? 0)} dead letters`, "dead", name), link("workers", "workers", { type: name })),
      pauseLine(limits?.pause, context.now),
      numbers(known),
      query.group ? groupPanel() : null,
      searching(),
      tops(known),
      panel("Ten minutes", legend(), lines(known.minutes, context.now)),
      limits ? limitsPanel({ type: name }, limits, context) : null,
    ];
  }

  function state(known) {
    const readyIn = known.held_until === undefined ? null : known.held_until - context.now;
    const line =
      known.held_by === "nothing"
        ? known.ready
          ? `${many(known.ready, "queue is", "queues are")} ready${known.oldest_ready ? `, the first for ${seconds(known.oldest_ready)}` : ""}; ${takers(known)}`
          : known.held
            ? `Nothing holds the type: ${many(known.held, "queue waits", "queues wait")} for limits of their own.`
            : "Nothing waits."
        : [known.held_by ? "Held by " : "", held(known.held_by, readyIn, context.now)];
    return el("div", { class: `lead ${known.held_by === "nothing" ? (known.ready ? "ready" : "") : stateOf(known.held_by)}` }, el("p", null, line));
  }

  // Who may take what is ready.
  function takers(known) {
    if (known.room) return `workers have room for ${count(known.room)}.`;
    if (known.subscribers) return "no worker has room.";
    return "nobody subscribes.";
  }

  function numbers(known) {
    const [, out] = lastMinute(known.minutes, known.at);
    return stats(
      stat("waiting", count(known.waiting), `and ${count(known.delayed ?? 0)} delayed`, "main"),
      stat("active", count(known.active), "leased to workers"),
      stat("queues ready / held", `${count(known.ready ?? 0)} / ${count(known.held ?? 0)}`, "a group counts as one"),
      stat("dispatched in the last minute", count(out)),
      stat("subscribers", count(known.subscribers ?? 0), `room for ${count(known.room ?? 0)} of ${count(known.credit ?? 0)}`),
      stat("dispatched early", count(known.early ?? 0), "has to stay 0", known.early ? "bad" : ""),
    );
  }

  function groupPanel() {
    const about = { type: name, group: query.group };
    const close = link("close", "type", name, { ...query, group: "" });
    if (!group) return panel(`Group ${query.group}`, el("p", { class: "hint" }, "…"));
    if (group.problem) return panel(`Group ${query.group}`, el("p", { class: "problem" }, group.problem), close);
    return el("div", { class: "group" }, pauseLine(group.pause, context.now), el("div", { class: "actions" }, el("b", null, `Group ${query.group}`), steer(about, group, context.reload), el("span", { class: "gap" }), close), limitsPanel(about, group, context));
  }

  function searching() {
    const prefix = query.prefix ?? "";
    return panel(
      "Find a queue",
      el("label", { class: "filters" }, "Its id begins with ", el("input", { type: "search", value: prefix, maxlength: 100, "data-search": "", oninput: (event) => context.put({ prefix: event.target.value }, search) })),
      found && el("div", null, found.problem && el("p", { class: "problem" }, found.problem), results()),
    );
  }

  function results() {
    if (!found.ids.length) return el("p", { class: "empty" }, found.looking ? "Looking…" : found.problem ? "" : found.cursor === null ? "No queue with waiting or leased jobs begins so." : ["None yet. ", el("button", { type: "button", onclick: () => search(found.cursor) }, "look further")]);
    return [
      el("ul", { class: "found" }, found.ids.map((id) => el("li", { "data-key": id }, link(id, "queue", name, id)))),
      found.cursor === null ? el("p", { class: "hint" }, many(found.ids.length, "queue")) : el("button", { type: "button", disabled: found.looking, onclick: () => search(found.cursor) }, found.looking ? "looking…" : "more"),
    ];
  }

  function tops(known) {
    const by = query.by in TOPS ? query.by : "backlog";
    const { queues = {}, looked } = known;
    const order = (known.tops?.[by] ?? []).filter((id) => id in queues);
    // Until somebody has looked at the first of them, nothing is known, and nothing is empty.
    const empty = !looked ? "The queues are being looked at." : by === "oldest" ? "No queue is ready." : "No queue has waiting jobs.";
    return panel(
      "Queues",
      choices("Order", by, Object.entries(TOPS).map(([value, text]) => [value, text, ["type", name, { ...query, by: value === "backlog" ? "" : value }]])),
      looked && looked.queues < looked.of && by !== "oldest"
        ? el("p", { class: "hint" }, `The first of ${count(looked.queues)} that were looked at, of ${count(looked.of)}; this round began at ${clock(looked.since, context.now)}.`)
        : null,
      table(COLUMNS, order.map((id) => row(id, queues[id])), empty),
    );
  }

  function row(id, queue) {
    const wait = queue.due === undefined ? null : queue.due - context.now;
    const next = queue.held_by === "nothing" && wait !== null ? el("span", { class: "held ready" }, el("i", { class: "mark ready", "aria-hidden": "true" }), `ready for ${seconds(Math.max(0, -wait))}`) : held(queue.held_by, wait, context.now);
    const drained = queue.drained_in === undefined ? "when resumed" : queue.drained_in ? span(queue.drained_in) : "";
    return {
      key: id,
      cells: [
        link(id, "queue", name, id),
        count(queue.waiting),
        count(queue.active),
        next,
        queue.interval ? rate(queue.interval) : "no limit",
        drained,
        queue.group ? link(queue.group, "type", name, { ...query, group: queue.group }) : "",
      ],
    };
  }

  return { title: name, trail: [["Overview", []]], topics: [topic], view, load, changed };
}
