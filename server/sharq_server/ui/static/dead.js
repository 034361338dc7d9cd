// Dead letters: what has failed for good, why, and what becomes of it?

import * as actions from "./job-actions.js";
import { call, get } from "./api.js";
import { el } from "./element.js";
import { count, many, short } from "./format.js";
import { Pager } from "./pager.js";
import { button, instead, link, moment, panel, table } from "./parts.js";
import { session } from "./session.js";

const REASONS = ["exhausted", "expired", "rejected"];
const PAGE = 100;
const FILTERS = ["reason", "error", "queue_id"];
const POLL = 1000;

// Pages that are read to count what matches.
const MOST_COUNTED = 20;

export default function dead(context) {
  const [type] = context.names;
  return type ? ofType(context, type) : allTypes(context);
}

function allTypes(context) {
  function view() {
    const known = context.topic("types")?.data;
    if (!known) return context.missing("types");
    const names = Object.keys(known.types).filter((name) => known.types[name].dead).sort((one, other) => known.types[other].dead - known.types[one].dead);
    if (!names.length) return instead("No dead letters", "A job that fails with no requeue left becomes one. Without a requeue limit no job does: `default_job_requeue_limit` is -1 by default.");
    return panel(
      "Types with dead letters",
      table([{ name: "Type" }, { name: "Dead letters", kind: "n" }], names.map((name) => ({ key: name, cells: [link(name, "dead", name), count(known.types[name].dead)] })), ""),
    );
  }
  return { title: "Dead letters", topics: ["types"], view };
}

function ofType(context, type) {
  const { query } = context;
  const pager = new Pager(`dead/${type}/`, "jobs", {}, context.redraw);
  const marked = new Set();
  let summary = null;
  let bulk = null;
  let timer = 0;
  let closed = false;

  function filter() {
    return Object.fromEntries(FILTERS.filter((name) => query[name]).map((name) => [name, query[name]]));
  }

  function load() {
    marked.clear();
    pager.load({ ...filter(), count: PAGE });
    if (session.may("metrics")) get(`metrics/${type}/`, { count: 1 }).then((told) => ((summary = told.dead), context.redraw()), () => {});
    follow();
  }

  // Look at what runs in the background, once a second as long as it does.
  async function follow(begun = false) {
    clearTimeout(timer);
    const ran = begun || bulk?.state === "running";
    try {
      ({ bulk } = await get(`dead/${type}/retry`));
    } catch {
      bulk = null;
    }
    if (closed) return;
    if (bulk?.state === "running") timer = setTimeout(() => (context.active ? follow() : (timer = setTimeout(follow, POLL))), POLL);
    else if (ran) load();
    context.redraw();
  }

  function view() {
    if (!session.may("dead", true)) return instead("This token does not show dead letters", "They need the operation `dead`: it shows payloads and errors.");
    return [running(), filters(), list()];
  }

  function running() {
    if (!bulk) return null;
    const verb = bulk.kind === "retry" ? "retried" : "deleted";
    const all = bulk.moved + bulk.left + bulk.conflicts;
    const words = `${count(bulk.moved)} ${verb}, ${count(bulk.left)} left${bulk.conflicts ? `, ${count(bulk.conflicts)} stayed since their names are in use` : ""}`;
    if (bulk.state !== "running") return el("p", { class: "note fine" }, `The last ${bulk.kind === "retry" ? "retry" : "deletion"} is ${bulk.state}: ${words}.`);
    return el(
      "div",
      { class: "note bulk" },
      el("label", null, `${bulk.kind === "retry" ? "Retry" : "Deletion"} running: ${words}. `, el("progress", { max: Math.max(all, 1), value: bulk.moved + bulk.conflicts })),
      session.may("dead") && button("stop…", () => actions.stopBulk(type, follow)),
    );
  }

  function filters() {
    const put = (name) => (event) => context.put({ [name]: event.target.value.trim() }, load);
    return el(
      "div",
      { class: "filters" },
      el("label", null, "Reason ", el("select", { onchange: put("reason") }, ["", ...REASONS].map((word) => el("option", { value: word, selected: word === (query.reason ?? "") }, word || "any")))),
      el("label", null, "Error type ", el("input", { type: "search", value: query.error ?? "", placeholder: "exactly", oninput: put("error") })),
      el("label", null, "Queue ", el("input", { type: "search", value: query.queue_id ?? "", placeholder: "exactly", maxlength: 100, "data-search": "", oninput: put("queue_id") })),
      summary && el("span", { class: "hint" }, `${many(summary.jobs, "dead letter")} of ${type}`, summary.fallen_out ? `; ${count(summary.fallen_out)} have fallen out of the bounds` : ""),
    );
  }

  // Which reasons, errors and queues there are among what was read, to choose from.
  function groups(items) {
    const found = { reason: new Map(), error: new Map(), queue_id: new Map() };
    for (const each of items) {
      const values = { reason: each.reason, error: each.error?.type, queue_id: each.queue_id };
      for (const name of FILTERS) {
        if (values[name]) found[name].set(values[name], (found[name].get(values[name]) ?? 0) + 1);
      }
    }
    return el(
      "div",
      { class: "groups" },
      FILTERS.map((name) => [name, [...found[name]].sort((one, other) => other[1] - one[1]).slice(0, 6)])
        .filter(([name, values]) => values.length > 1 && !query[name])
        .map(([name, values]) =>
          el("p", null, { reason: "By reason", error: "By error", queue_id: "By queue" }[name], ": ", values.map(([value, times]) => [link(value, "dead", type, { ...query, [name]: value }), ` ${count(times)}  `])),
        ),
      pager.cursor !== null && el("p", { class: "hint" }, `among the newest ${count(items.length)}`),
    );
  }

  function list() {
    const { items } = pager;
    if (!items) return el("p", { class: "hint" }, pager.problem ?? "…");
    const filtered = Object.keys(filter()).length > 0;
    if (!items.length) return [instead("No dead letters", filtered ? "None matches this filter." : `No job of ${type} has failed for good.`), pager.foot()];
    const may = session.may("dead");
    return panel(
      "Dead letters",
      groups(items),
      may && el("div", { class: "actions" }, ofMarked(items), el("span", { class: "gap" }), ofAll(filtered)),
      table(
        [{ name: may ? box(items) : "" }, { name: "Queue" }, { name: "Job" }, { name: "Reason" }, { name: "Error" }, { name: "Attempts", kind: "n wide" }, { name: "Died", kind: "when" }, { name: "Payload", kind: "payload wide" }],
        items.map(row),
        "",
      ),
      pager.foot(),
    );
  }

  const keyOf = (each) => `${each.queue_id}/${each.job_id}`;

  function box(items) {
    const all = items.every((each) => marked.has(keyOf(each)));
    return el("input", { type: "checkbox", "aria-label": "mark all that are shown", title: "mark all that are shown", onclick: () => (items.forEach((each) => (all ? marked.delete(keyOf(each)) : marked.add(keyOf(each)))), sync()) });
  }

  function row(each) {
    const key = keyOf(each);
    const mark = el("input", { type: "checkbox", "aria-label": `mark ${key}`, "data-mark": key, onclick: (event) => (event.target.checked ? marked.add(key) : marked.delete(key), context.redraw()) });
    return {
      key,
      cells: [
        session.may("dead") ? mark : "",
        link(each.queue_id, "queue", type, each.queue_id),
        link(each.job_id, "job", type, each.queue_id, each.job_id),
        each.reason,
        each.error ? [el("b", null, each.error.type ?? ""), each.error.message ? ` ${short(each.error.message)}` : ""] : "",
        count(each.attempts),
        moment(each.died_at, context.now),
        el("code", null, short(each.payload)),
      ],
    };
  }

  // A box that was clicked keeps its own state: have all of them show what is marked.
  function sync() {
    for (const each of document.querySelectorAll("[data-mark]")) each.checked = marked.has(each.dataset.mark);
    context.redraw();
  }

  function ofMarked(items) {
    const chosen = items.filter((each) => marked.has(keyOf(each))).map((each) => [each.queue_id, each.job_id]);
    const done = () => load();
    return [
      button(`retry ${chosen.length ? count(chosen.length) : "the marked"}…`, () => actions.retryDead(type, chosen, done), "", { disabled: !chosen.length }),
      button(`delete ${chosen.length ? count(chosen.length) : "the marked"}…`, () => actions.deleteDead(type, chosen, done), "danger", { disabled: !chosen.length }),
    ];
  }

  function ofAll(filtered) {
    const busy = bulk?.state === "running";
    const words = filtered ? "all that match" : "all";
    return [
      button(`retry ${words}…`, () => begin(actions.retryAll), "", { disabled: busy }),
      button(`delete ${words}…`, () => begin(actions.deleteAll), "danger", { disabled: busy }),
    ];
  }

  async function begin(action) {
    const chosen = filter();
    // The newest that was read is the first one.
    const before = pager.items[0].died_at + 1;
    action(type, chosen, { counted: await counted(chosen), before }, () => follow(true));
  }

  // How many match, in words: what was read, the rest of it, or what the type had then.
  async function counted(chosen) {
    if (pager.cursor === null) return many(pager.items.length, "dead letter");
    if (!Object.keys(chosen).length && summary) return many(summary.jobs, "dead letter");
    let found = pager.items.length;
    let { cursor } = pager;
    for (let page = 0; page < MOST_COUNTED && cursor !== null; page += 1) {
      const told = await call({ path: `dead/${type}/`, query: { ...chosen, count: PAGE, cursor } }, true).catch(() => null);
      if (!told) break;
      found += told.jobs.length;
      cursor = told.cursor;
    }
    return cursor === null ? many(found, "dead letter") : `more than ${many(found, "dead letter")}`;
  }

  function close() {
    closed = true;
    clearTimeout(timer);
  }

  return { title: type, trail: [["Dead letters", ["dead"]]], topics: [], view, load, close, changed: load, needs: true };
}
