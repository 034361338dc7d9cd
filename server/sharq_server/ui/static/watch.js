// What is live: topics watched over one websocket (docs/push-protocol.md).
//
// The whole of a topic comes first, then differences (RFC 7386). A lost connection is made again, each time a little
// later; one that has fallen silent counts as lost. While it is not `active` there is no connection at all.

import { channel } from "./place.js";
import { session } from "./session.js";

const PROTOCOL = "sharq.v1.json";
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
const PING = 10_000;

export function merged(value, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const made = value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};
  for (const [name, part] of Object.entries(patch)) {
    if (part === null) delete made[name];
    else made[name] = merged(made[name], part);
  }
  return made;
}

function bearer(secret) {
  const encoded = btoa(secret).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `sharq.bearer.${encoded}`;
}

// Calls `onChange()` when anything is different, and `onLost()` when a connection could not be made: what follows is
// the value of the promise that it returns, "retry" or "stop".
//
// `state`: off, connecting, live, or lost, until `retryAt` (ms of performance.now()). `failing`: it was lost, and is not
// there again. `topics` has for each topic
// `{data, problem, since}`; what was shown stays when it is lost. `refusal` is the error of the last `watch`.
export class Watch {
  constructor({ onChange, onLost }) {
    this.onChange = onChange;
    this.onLost = onLost;
    this.state = "off";
    this.topics = new Map();
    this.refusal = null;
    this.wanted = [];
    this.active = false;
    this.failing = false;
    this.retryAt = 0;
    this.wait = FIRST_WAIT;
    this.socket = null;
    this.timers = [];
  }

  // Watch these topics instead of those before.
  want(topics) {
    this.wanted = topics;
    this.refusal = null;
    for (const topic of [...this.topics.keys()]) {
      if (!topics.includes(topic)) this.topics.delete(topic);
    }
    this.ask();
  }

  // Have the whole of all topics sent again.
  ask() {
    if (this.state === "live") this.send({ op: "watch", id: 1, topics: this.wanted });
  }

  setActive(active) {
    if (active === this.active) return;
    this.active = active;
    if (active) this.connect();
    else this.drop("off");
  }

  // Connect now: for the first time, again, or with another token.
  connect() {
    this.drop("connecting");
    if (!this.active) return this.drop("off");
    const secret = session.token;
    const socket = new WebSocket(channel(), secret ? [PROTOCOL, bearer(secret)] : [PROTOCOL]);
    this.socket = socket;
    socket.onmessage = (message) => this.socket === socket && this.hear(JSON.parse(message.data));
    socket.onclose = () => this.socket === socket && this.lose();
    // A server that takes the connection and says nothing is no better.
    this.timers = [setTimeout(() => this.lose(), PING)];
    this.onChange();
  }

  drop(state) {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers = [];
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.state = state;
    this.onChange();
  }

  async lose() {
    const met = this.state === "live";
    this.failing = true;
    this.drop("lost");
    const wait = this.wait * (0.8 + 0.4 * Math.random());
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
    this.retryAt = performance.now() + wait;
    const timer = setTimeout(() => this.connect(), wait);
    this.timers.push(timer);
    if (!met && (await this.onLost()) === "stop" && this.timers.includes(timer)) this.drop("off");
    else this.onChange();
  }

  hear(told) {
    this.heard = performance.now();
    if (told.event === "welcome") {
      session.operations = told.operations;
      session.tell(told.server_time);
      this.state = "live";
      this.failing = false;
      clearTimeout(this.timers.pop());
      if (this.wanted.length) this.ask();
      this.beat();
    } else if (told.event === "watch") this.take(told);
    else if (told.event === "error") this.refusal = told;
    else return;
    this.onChange();
  }

  take({ topic, full, data, problem }) {
    if (!this.wanted.includes(topic)) return;
    this.wait = FIRST_WAIT;
    this.refusal = null;
    const known = this.topics.get(topic) ?? { data: null, problem: null, since: 0 };
    if (problem) known.problem = problem;
    else if (full) {
      known.data = data;
      known.problem = null;
    } else if (known.data === null) return this.ask();
    else {
      known.data = merged(known.data, data);
      known.problem = null;
    }
    if (!problem) known.since = session.now;
    if (known.data?.at) session.tell(known.data.at);
    this.topics.set(topic, known);
  }

  // A server that is gone without a word is noticed by the answer that does not come.
  beat() {
    const asked = performance.now();
    this.send({ op: "ping" });
    this.timers = [
      setTimeout(() => {
        if (this.heard >= asked) this.beat();
        else this.lose();
      }, PING),
    ];
  }

  send(frame) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }
}
