// Who holds a lease: the servers are asked while the page of its job is looked at.

import { el } from "./element.js";
import { clock, seconds } from "./format.js";
import { stat } from "./parts.js";
import { session } from "./session.js";

const NAME = "held by";
const MODES = { deliver: "jobs are sent to it (deliver)", notify: "it fetches jobs (notify)" };

export class Holder {
  constructor(context) {
    this.context = context;
    this.lease = null;
    this.seen = null;
  }

  // Look at another lease, or at none for null.
  look(lease) {
    if (lease !== this.lease) this.seen = null;
    this.lease = lease;
    this.context.want();
  }

  get topics() {
    return this.lease && session.config.live && session.may("metrics") ? [`holder/${this.lease}`] : [];
  }

  view() {
    if (!this.lease) return session.may("jobs") ? null : stat(NAME, "not shown", "this token shows no leases: they need the operation jobs");
    const [topic] = this.topics;
    if (!topic) return stat(NAME, "not shown", session.config.live ? "this token shows no workers: they need the operation metrics" : "a WSGI server has no push channel: look at one that has");
    const known = this.context.topic(topic)?.data;
    const holder = known?.holder;
    if (holder) {
      this.seen = holder;
      return stat(NAME, name(holder), this.about(holder));
    }
    if (this.seen) return stat(NAME, "nobody any more", `${name(this.seen)} had it: the job has ended or gone back, or its connection has ended. Read again`);
    if (known?.asked) return stat(NAME, "nobody known by name", "it was taken over REST or with the library, or the connection that had it has ended");
    return stat(NAME, "…", this.context.active ? "asking the servers" : "paused");
  }

  about(holder) {
    const { now } = this.context;
    return [
      `since ${clock(holder.since, now)}, for ${seconds(Math.max(0, now - holder.since))}`,
      el("br"),
      [MODES[holder.mode] ?? "it subscribes to the type no more, or never did", holder.token && `token ${holder.token}`, `server ${holder.host}`].filter(Boolean).join(" · "),
    ];
  }
}

function name(holder) {
  return holder.worker ?? "a subscriber without a name";
}
