// A queue: what holds it back, and until when?

import * as actions from "./actions.js";
import { used } from "./chart.js";
import { el } from "./element.js";
import { clock, count, many, rate, seconds, short, span, until } from "./format.js";
import { limitsPanel, pauseLine, steer } from "./limits.js";
import { Pager } from "./pager.js";
import { button, holder, link, panel, stat, stateOf, stats, table } from "./parts.js";
import { session } from "./session.js";

const PAGE = 25;

export default function queue(context) {
  const [type, id] = context.names;
  const topic = `queue/${type}/${id}`;
  const about = { type, queue: id };
  const pagers = {};

  function load() {
    const wanted = { jobs: ["jobs", "jobs", `jobs/${type}/${id}/`, {}], leases: ["jobs", "leases", `leases/${type}/${id}/`, {}], dead: ["dead", "jobs", `dead/${type}/`, { queue_id: id }] };
    for (const [name, [operation, list, path, query]] of Object.entries(wanted)) {
      if (!session.may(operation, true)) {
        delete pagers[name];
        continue;
      }
      pagers[name] ??= new Pager(path, list, { ...query, count: name === "leases" ? null : PAGE }, context.redraw);
      pagers[name].load();
    }
  }

  function view() {
    const known = context.topic(topic)?.data;
    if (!known) return [context.missing(topic), lists({})];
    const { metrics = {}, limits = {} } = known;
    return [
      lead(known, metrics, limits),
      el(
        "div",
        { class: "actions" },
        steer(about, limits, context.reload),
        session.may("deletequeue") && metrics.queue_length > 0 && button("delete the waiting…", () => actions.clear(about, metrics.queue_length, context.reload), "danger"),
      ),
      pauseLine(limits.pause, context.now),
      numbers(known, metrics, limits),
      rates(metrics, limits),
      limitsPanel(about, limits, context),
      lists(metrics),
    ];
  }

  // What was watched tells the time that is left at that moment: the end stays, and is counted down to.
  function leftOf(known, limits) {
    return limits.ready_in === null || limits.ready_in === undefined ? null : Math.max(0, known.at + limits.ready_in - context.now);
  }

  function lead(known, metrics, limits) {
    const heldBy = limits.held_by ?? metrics.held_by;
    const left = leftOf(known, limits);
    const kind = stateOf(heldBy);
    if (kind === "idle") return el("div", { class: "lead" }, el("strong", null, "Nothing waits"), el("p", null, metrics.active_count ? `${many(metrics.active_count, "job is", "jobs are")} leased.` : "Its next job goes as its rate allows."));
    if (kind === "ready") return el("div", { class: "lead ready" }, el("strong", null, "Ready"), el("p", null, "Nothing holds it back: a worker with room is all that is missing."));
    const timed = left !== null && !(heldBy.endsWith("concurrency") && left === 0);
    return el(
      "div",
      { class: `lead ${kind}` },
      el("strong", { class: "big" }, timed ? (left > 0 ? seconds(left) : "now") : heldBy.endsWith("paused") ? "until it is resumed" : "until a lease ends"),
      el("p", null, "Held back by ", el("b", null, holding(heldBy, limits)), timed && left > 0 ? ` until ${until(left, context.now)}` : "", "."),
    );
  }

  // What holds it, as a link to where it can be changed if that is not here.
  function holding(heldBy, limits) {
    const text = holder(heldBy);
    if (heldBy.startsWith("type_")) return link(text, "type", type);
    const group = limits.limits?.group;
    return heldBy.startsWith("group_") && group ? link(text, "type", type, { group }) : text;
  }

  function numbers(known, metrics, limits) {
    const interval = limits.limits?.interval;
    const waiting = metrics.queue_length ?? 0;
    const dispatched = sum(metrics.dequeue_counts);
    return stats(
      stat("waiting", count(waiting), interval && waiting ? `drained in ${span(waiting * interval)} at its own rate` : null),
      stat("leased", count(metrics.active_count ?? 0), limits.limits?.concurrency ? `of ${count(limits.limits.concurrency)} at a time` : null),
      stat("rate", rate(interval), limits.limits?.burst > 1 ? `up to ${count(limits.limits.burst)} at once` : null),
      stat("early", `${count(known.early ?? 0)} early of ${count(dispatched)}`, "dispatches before their time, of those of ten minutes", known.early ? "bad" : ""),
    );
  }

  function sum(counts) {
    return Object.values(counts ?? {}).reduce((sum, each) => sum + each, 0);
  }

  function rates(metrics, limits) {
    const interval = limits.limits?.interval;
    return panel(
      "Rate used of the rate permitted",
      el("p", { class: "hint" }, interval ? `Dispatched in each minute; the line is its own rate, ${rate(interval)}. The running minute is pale.` : "Dispatched in each minute; it has no rate of its own."),
      used(metrics.dequeue_counts, interval ? 60_000 / interval : null, context.now),
    );
  }

  function lists(metrics) {
    return [
      pagers.jobs && panel("Waiting jobs", waiting(metrics), pagers.jobs.foot()),
      pagers.leases && panel("Leases", leases(), pagers.leases.foot()),
      pagers.dead && panel("Dead letters", dead(), pagers.dead.foot(), link("see them with their payloads", "dead", type, { queue_id: id })),
      Object.keys(pagers).length ? null : el("p", { class: "hint" }, "This token shows no jobs: they need the operation jobs."),
    ];
  }

  function jobLink(job) {
    return link(job, "job", type, id, job);
  }

  function waiting(metrics) {
    const { items } = pagers.jobs;
    if (!items) return el("p", { class: "hint" }, pagers.jobs.problem ? "" : "…");
    return [
      items.length ? el("p", { class: "hint" }, `As read at ${clock(pagers.jobs.at, context.now)}; ${count(metrics.queue_length ?? items.length)} wait now.`) : null,
      table(
        [{ name: "Place", kind: "n" }, { name: "Job" }, { name: "Payload", kind: "payload" }, { name: "Due", kind: "wide" }, { name: "Requeues left", kind: "n wide" }],
        items.map((each) => ({
          key: each.job_id,
          cells: [
            `${each.estimated ? "~" : ""}${count(each.position)}`,
            jobLink(each.job_id),
            el("code", null, short(each.payload)),
            each.due_in === undefined ? "" : `in ${span(each.due_in)}`,
            each.requeues_remaining === -1 ? "no limit" : count(each.requeues_remaining),
          ],
        })),
        "No job waits.",
      ),
    ];
  }

  function leases() {
    const { items } = pagers.leases;
    if (!items) return el("p", { class: "hint" }, pagers.leases.problem ? "" : "…");
    return table(
      [{ name: "Job" }, { name: "Attempt", kind: "n" }, { name: "Lease ends in", kind: "n" }, { name: "Lease", kind: "wide" }],
      items.map((each) => ({ key: each.job_id, cells: [jobLink(each.job_id), count(each.attempt), span(each.ends_in), el("code", null, each.lease)] })),
      "No job is leased.",
    );
  }

  function dead() {
    const { items } = pagers.dead;
    if (!items) return el("p", { class: "hint" }, pagers.dead.problem ? "" : "…");
    return table(
      [{ name: "Job" }, { name: "Reason" }, { name: "Error" }, { name: "Died", kind: "wide" }],
      items.map((each) => ({ key: each.job_id, cells: [jobLink(each.job_id), each.reason, each.error?.type ?? "", clock(each.died_at, context.now)] })),
      "No dead letter.",
    );
  }

  return { title: id, trail: [["Overview", []], [type, ["type", type]]], topics: [topic], view, load, needs: true };
}

