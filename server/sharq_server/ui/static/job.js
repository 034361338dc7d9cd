// A job: where is it, and what became of it?

import * as actions from "./job-actions.js";
import { get } from "./api.js";
import { el } from "./element.js";
import { bytes, clock, count, span, until } from "./format.js";
import { Holder } from "./holder.js";
import { button, held, instead, moment, panel, stat, stats } from "./parts.js";
import { session } from "./session.js";

const STATES = { queued: "Waits in its queue", active: "Leased to a worker", finished: "Finished", dead: "A dead letter" };

export default function job(context) {
  const [type, queue, id] = context.names;
  const about = { type, queue, job: id };
  const holder = new Holder(context);
  let told = null;
  let problem = null;
  let at = 0;

  async function load() {
    try {
      told = await read();
      problem = null;
    } catch (error) {
      problem = error;
      if (error.code === "not_found") told = null;
    }
    at = session.now;
    holder.look(told?.state === "active" ? (told.lease ?? null) : null);
    context.redraw();
  }

  // A dead letter has its payload among the dead letters, any other job in its status.
  async function read() {
    const place = `${type}/${queue}/${id}/`;
    const payload = session.may("jobs") ? "true" : null;
    const status = await get(`status/${place}`, { payload });
    if (status.state === "dead" && session.may("dead", true)) {
      const letter = await get(`dead/${place}`).catch(() => ({}));
      return { ...letter, ...status, payload: letter.payload };
    }
    return status;
  }

  function view() {
    if (problem && !told) {
      if (problem.code === "not_found") return instead("This job is not known", "It never was, it was deleted, or it was finished some time ago: `finished_retention` is how long that is known.", button("look again", load));
      return instead("The job cannot be shown", problem.message, button("try again", load));
    }
    if (!told) return el("p", { class: "hint" }, "…");
    return [
      lead(),
      problem && el("p", { class: "problem" }, problem.message),
      el("div", { class: "actions" }, does(), button("read again", load, "quiet"), el("span", { class: "hint" }, `as read at ${clock(at, context.now)}`)),
      numbers(),
      told.error || told.reason ? failure() : null,
      payload(),
    ];
  }

  function lead() {
    const { state } = told;
    const left = (ms) => Math.max(0, at + ms - context.now);
    const more =
      state === "queued"
        ? el("p", null, held(told.held_by, told.ready_in === null ? null : left(told.ready_in), context.now))
        : state === "active"
          ? el("p", null, told.lease_expires_in === 0 ? "Its lease has run out; the sweep is about to take it back." : `Its lease ends at ${until(left(told.lease_expires_in), context.now)}.`)
          : state === "dead" && told.died_at
            ? el("p", null, "It died at ", moment(told.died_at, context.now), ": ", told.reason, ".")
            : null;
    return el("div", { class: `lead ${state}` }, el("strong", null, STATES[state] ?? state), more);
  }

  function does() {
    const { state } = told;
    if (state === "queued") return session.may("cancel") && button("delete…", () => actions.cancel(about, context.reload), "danger");
    if (state === "active") {
      return session.may("release") && [button("release…", () => actions.release({ ...about, lease: told.lease }, context.reload)), button("fail…", () => actions.fail({ ...about, lease: told.lease }, context.reload), "danger")];
    }
    if (state === "dead" && told.reason) {
      const one = [[queue, id]];
      return session.may("dead") && [button("retry…", () => actions.retryDead(type, one, context.reload), "primary"), button("delete…", () => actions.deleteDead(type, one, context.reload), "danger")];
    }
    return null;
  }

  function numbers() {
    const parts = [];
    if (told.state === "queued") {
      parts.push(stat("jobs before it", `${told.estimated ? "about " : ""}${count(told.position)}`));
      parts.push(stat("goes in", told.eta === null ? "not known" : told.eta === 0 ? "now" : `${told.estimated ? "about " : ""}${span(told.eta)}`, told.eta === null ? "a finish or a resume decides" : `at ${until(told.eta, context.now)}`));
    }
    if (told.state === "active" && told.lease) parts.push(stat("lease", el("code", null, told.lease)));
    if (told.state === "active") parts.push(holder.view());
    const attempt = told.attempt ?? told.attempts;
    if (attempt !== undefined) parts.push(stat(told.attempts === undefined ? "attempt" : "attempts", count(attempt)));
    if (told.worker) parts.push(stat(told.state === "active" ? "worker of the last failure" : "worker", told.worker));
    return parts.length ? stats(...parts) : null;
  }

  function failure() {
    const { error } = told;
    return panel(
      "Last error",
      error ? [el("p", { class: "error" }, el("b", null, error.type ?? "error"), error.message ? `: ${error.message}` : ""), error.trace && el("pre", null, error.trace)] : el("p", { class: "hint" }, "None was told."),
      told.first_failed_at ? el("p", { class: "hint" }, "It failed first at ", moment(told.first_failed_at, context.now), ".") : null,
    );
  }

  function payload() {
    if (told.payload === undefined) {
      if (told.state === "finished") return null;
      return panel("Payload", el("p", { class: "hint" }, session.may("jobs") ? "It is not kept." : "This token shows no payloads: they need the operation jobs."));
    }
    return panel("Payload", el("p", { class: "hint" }, `${bytes(new Blob([told.payload]).size)}, as it was enqueued`), el("pre", { class: "payload" }, told.payload));
  }

  return {
    title: id,
    trail: [["Overview", []], [type, ["type", type]], [queue, ["queue", type, queue]]],
    get topics() {
      return holder.topics;
    },
    view,
    load,
    needs: true,
  };
}
