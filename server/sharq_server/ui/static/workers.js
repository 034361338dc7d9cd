// Workers: who takes jobs, how many more, and is somebody stuck?

import { el } from "./element.js";
import { count, many } from "./format.js";
import { ago, instead, link, panel, stat, stats, table } from "./parts.js";

const COLUMNS = [
  { name: "Worker" },
  { name: "Type" },
  { name: "Mode", kind: "wide" },
  { name: "Held / credit", kind: "n", title: "Leases it holds, of those that it may hold" },
  { name: "Oldest lease", kind: "n" },
  { name: "Last heard", kind: "n" },
  { name: "Token", kind: "wide" },
  { name: "Server", kind: "wide" },
];

// What has not been heard of for so long (ms) may be gone: two heartbeats by default.
const SILENT = 40_000;

export default function workers(context) {
  const { query } = context;

  function view() {
    const known = context.topic("workers")?.data;
    if (!known) return context.missing("workers");
    const all = Object.entries(known.workers ?? {});
    if (!all.length) {
      return instead("Nobody subscribes", "Jobs wait until somebody takes them. Start a worker, or take them over REST:", el("code", { class: "curl" }, "sharq worker MODULE:HANDLER --type TYPE"), "Workers that poll over REST are not listed: they hold no connection.");
    }
    const shown = all.filter(([, each]) => !query.type || each.queue_type === query.type);
    return [numbers(shown, known), panel("Subscribers by type", filters(all, shown, known), list(shown, known)), servers(known)];
  }

  function numbers(shown, known) {
    const sum = (name) => shown.reduce((sum, [, each]) => sum + (each[name] ?? 0), 0);
    const room = shown.reduce((sum, [, each]) => sum + Math.max(0, (each.credit ?? 0) - (each.held ?? 0)), 0);
    return stats(
      stat("free room", count(room), `${count(sum("held"))} held of a credit of ${count(sum("credit"))}`, room ? "main" : "main bad"),
      stat("subscriptions", count(shown.length), known.more ? `and ${count(known.more)} more` : null),
      stat("servers", count(Object.keys(known.servers ?? {}).length)),
    );
  }

  function filters(all, shown, known) {
    const types = [...new Set(all.map(([, each]) => each.queue_type))].sort();
    return el(
      "div",
      { class: "filters" },
      el("label", null, "Type ", el("select", { onchange: (event) => context.put({ type: event.target.value }) }, ["", ...types].map((name) => el("option", { value: name, selected: name === (query.type ?? "") }, name || "all")))),
      el("span", { class: "hint" }, `${count(shown.length)} of ${many(all.length + (known.more ?? 0), "subscription")}`),
    );
  }

  // A server is known by a word of its own; people know its machine.
  function server(known, id) {
    return known.servers?.[id]?.host ?? id;
  }

  function list(shown, known) {
    const order = [...shown].sort(([one, a], [other, b]) => a.queue_type.localeCompare(b.queue_type) || one.localeCompare(other, "en", { numeric: true }));
    return table(
      COLUMNS,
      order.map(([key, each]) => ({
        key,
        cells: [
          each.worker ?? el("span", { class: "hint" }, `connection ${key.split("/").at(-2) ?? key}`),
          link(each.queue_type, "type", each.queue_type),
          each.mode,
          el("span", { class: each.mode === "deliver" && each.held >= each.credit ? "full" : "" }, `${count(each.held)} / ${count(each.credit)}`),
          each.oldest_lease === undefined ? "" : ago(each.oldest_lease),
          el("span", { class: each.heard > SILENT ? "bad" : "" }, each.heard < 1000 ? "now" : ago(each.heard)),
          each.token ?? "",
          server(known, each.server),
        ],
      })),
      "Nobody subscribes to this type.",
    );
  }

  function servers(known) {
    return panel(
      "Servers",
      table([{ name: "Server" }, { name: "Connections", kind: "n" }], Object.entries(known.servers ?? {}).sort().map(([name, each]) => ({ key: name, cells: [server(known, name), count(each.connections)] })), "No server has told yet."),
    );
  }

  return { title: "Workers", topics: ["workers"], view };
}
