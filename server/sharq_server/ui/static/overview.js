// Overview: is work going out, and where is it not?

import { lastMinute, legend, lines, rows } from "./chart.js";
import { el } from "./element.js";
import { count, many } from "./format.js";
import { held, instead, link, panel, stat, stats, table } from "./parts.js";
import { path } from "./place.js";

const COLUMNS = [
  { name: "Type" },
  { name: "Waiting", kind: "n" },
  { name: "Active", kind: "n wide" },
  { name: "Delayed", kind: "n wide" },
  { name: "Dead", kind: "n" },
  { name: "What holds it", title: "What holds the type itself; its queues have limits of their own" },
  { name: "Queues", kind: "n wide", title: "Ready, and held back by a limit" },
  { name: "Ten minutes", kind: "wide" },
  { name: "Out a minute", kind: "n wide", title: "Dispatched in the last minute" },
  { name: "Workers", kind: "n wide", title: "Subscribers, and how many more jobs they have room for" },
];

const ORDERS = { name: null, waiting: "waiting", active: "active", dead: "dead" };

export default function overview(context) {
  const { query } = context;
  const topic = "types";

  function view() {
    const known = context.topic(topic)?.data;
    if (!known) return context.missing(topic);
    const types = known.types ?? {};
    const names = chosen(types);
    if (!Object.keys(types).length) {
      return instead(
        "There is no queue yet",
        "A queue is there from its first job on. Put one in:",
        el("code", { class: "curl" }, context.example()),
      );
    }
    return [notes(known), numbers(types, known), panel("Types", filters(names.length, known), list(types, names, known.at)), chart(types)];
  }

  function chosen(types) {
    const wanted = (query.q ?? "").toLowerCase();
    const order = ORDERS[query.sort];
    const names = Object.keys(types).filter((name) => name.toLowerCase().includes(wanted)).sort();
    if (order) names.sort((one, other) => (types[other][order] ?? 0) - (types[one][order] ?? 0));
    return names;
  }

  function notes(known) {
    const all = Object.entries(known.notes ?? {});
    const unread = (known.unreached ?? []).length;
    if (!all.length && !unread && known.complete !== false) return el("p", { class: "note fine" }, "Nothing needs you.");
    return el(
      "ul",
      { class: "notes" },
      unread ? el("li", { class: "note" }, `${many(unread, "type")} could not be read: `, known.unreached.slice(0, 5).join(", "), unread > 5 ? ", …" : "") : null,
      known.complete === false ? el("li", { class: "note" }, "The list of all types could not be read: there may be others.") : null,
      all.map(([type, text]) => el("li", { class: "note" }, link(type, "type", type), ": ", text)),
    );
  }

  function numbers(types, { more, at }) {
    const all = Object.values(types);
    const sum = (name) => all.reduce((sum, each) => sum + (each[name] ?? 0), 0);
    const out = all.reduce((sum, each) => sum + lastMinute(each.minutes, at)[1], 0);
    return stats(
      stat("dispatched in the last minute", count(out), more ? `in ${many(all.length, "type")}; ${count(more)} more are not shown` : null, "main"),
      stat("waiting", count(sum("waiting")), `and ${count(sum("delayed"))} delayed`),
      stat("active", count(sum("active")), "leased to workers"),
      stat("dead letters", count(sum("dead")), null, sum("dead") ? "bad" : ""),
      stat("subscribers", count(sum("subscribers")), `room for ${many(sum("room"), "job")}`),
      stat("dispatched early", count(sum("early")), "has to stay 0", sum("early") ? "bad" : ""),
    );
  }

  function filters(shown, known) {
    const all = Object.keys(known.types).length;
    return el(
      "div",
      { class: "filters" },
      el("label", null, "Name has ", el("input", { type: "search", value: query.q ?? "", "data-search": "", oninput: (event) => context.put({ q: event.target.value }) })),
      el("label", null, "Order by ", el("select", { onchange: (event) => context.put({ sort: event.target.value }) }, Object.keys(ORDERS).map((name) => el("option", { value: name, selected: name === (query.sort ?? "name") }, name)))),
      el("span", { class: "hint" }, shown === all ? many(all, "type") : `${count(shown)} of ${many(all, "type")}`, known.more ? `, and ${count(known.more)} more` : ""),
    );
  }

  function list(types, names, at) {
    return table(
      COLUMNS,
      names.map((name) => {
        const each = types[name];
        const readyIn = each.held_until === undefined ? null : each.held_until - context.now;
        return {
          key: name,
          kind: known(name) ? "wrong" : "",
          cells: [
            link(name, "type", name),
            count(each.waiting),
            count(each.active),
            count(each.delayed),
            each.dead ? el("a", { class: "bad", href: path("dead", name) }, count(each.dead)) : "0",
            each.held_by === "nothing" ? queues(each) : held(each.held_by, readyIn, context.now),
            `${count(each.ready ?? 0)} / ${count(each.held ?? 0)}`,
            lines(each.minutes, at, true),
            count(lastMinute(each.minutes, at)[1]),
            each.subscribers ? `${count(each.subscribers)}, room ${count(each.room)}` : el("span", { class: each.waiting ? "bad" : "" }, "none"),
          ],
        };
      }),
      "No type has this in its name.",
    );
  }

  function known(name) {
    return Boolean(context.topic(topic)?.data?.notes?.[name]);
  }

  // A type that nothing holds is as free as its queues are.
  function queues(each) {
    if (each.ready) return held("nothing");
    return each.held ? el("span", { class: "held held" }, el("i", { class: "mark held", "aria-hidden": "true" }), "limits of its queues") : held(null);
  }

  function chart(types) {
    const sum = {};
    for (const each of Object.values(types)) {
      for (const [minute, ...counts] of rows(each.minutes)) {
        sum[minute] = (sum[minute] ?? [0, 0, 0]).map((value, at) => value + counts[at]);
      }
    }
    return panel("Ten minutes, all types", legend(), lines(sum, context.now));
  }

  return { title: "Overview", topics: [topic], view };
}
