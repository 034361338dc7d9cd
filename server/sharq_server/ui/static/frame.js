// The frame around each page: where one is, whether it is live, and what is wrong with the connection.

import { el, show } from "./element.js";
import { clock, seconds } from "./format.js";
import { link } from "./parts.js";
import { isName, path } from "./place.js";
import { session } from "./session.js";

const STATES = { live: "live", connecting: "connecting", lost: "lost", off: "off" };

export function bar(place, { page, watch, paused, togglePause, anotherToken }) {
  const { config } = session;
  const state = paused ? "paused" : watch.state;
  show(
    place,
    el("a", { class: "brand", href: path() }, el("img", { src: new URL("icon.svg", import.meta.url).pathname, alt: "", width: 22, height: 22 }), "SharQ"),
    config.environment && el("b", { class: `badge ${/^prod/i.test(config.environment) ? "production" : ""}` }, config.environment),
    config.read_only && el("span", { class: "badge quiet" }, "read only"),
    el(
      "nav",
      { "aria-label": "Pages" },
      [["Overview", "overview"], ["Dead letters", "dead"], ["Workers", "workers"]].map(([text, name]) =>
        el("a", { href: name === "overview" ? path() : path(name), "aria-current": page.name === name ? "page" : null }, text),
      ),
    ),
    el("form", { class: "jump", role: "search", onsubmit: jump }, el("input", { type: "search", name: "where", "aria-label": "Go to a type, queue or job", placeholder: "type/queue/job", title: "Go to: type, type/queue or type/queue/job" })),
    config.live &&
      el(
        "span",
        { class: `live ${state}`, title: watch.state === "live" ? "Numbers come once a second, where they change" : "" },
        el("i", { class: "mark", "aria-hidden": "true" }),
        paused ? "paused" : STATES[watch.state],
      ),
    config.live && el("button", { type: "button", class: "quiet", onclick: togglePause, title: "p" }, paused ? "go on" : "pause"),
    config.tokens && el("button", { type: "button", class: "quiet", onclick: () => anotherToken() }, "token"),
    page.trail || page.name !== "overview" ? trail(page) : null,
  );
}

function trail({ trail = [], title }) {
  return el("h1", { class: "trail" }, trail.map(([text, to]) => [link(text, ...to), el("span", { "aria-hidden": "true" }, "/")]), el("span", null, title));
}

function jump(event) {
  event.preventDefault();
  const field = event.target.elements.where;
  const names = field.value.trim().split("/").filter(Boolean);
  const page = ["type", "queue", "job"][names.length - 1];
  field.setCustomValidity(page && names.every(isName) ? "" : "A type, type/queue or type/queue/job: names of A-Z a-z 0-9 - _");
  if (!field.reportValidity()) {
    field.oninput = () => field.setCustomValidity("");
    return;
  }
  field.value = "";
  field.blur();
  // As if it were a link, which the start follows.
  const to = el("a", { href: path(page, ...names) });
  document.body.append(to);
  to.click();
  to.remove();
}

export function banners(place, { watch, page, now }) {
  const shown = [];
  if (watch.failing && watch.state !== "off") {
    const left = Math.max(0, watch.retryAt - performance.now());
    const next = watch.state === "lost" ? `The next try is in ${seconds(left)}` : "Trying now";
    shown.push(
      el("p", { class: "banner bad" }, "The server does not answer. ", `${next}; what you see may be old. `, el("button", { type: "button", onclick: () => watch.connect() }, "try now")),
    );
  }
  for (const topic of page.topics) {
    const known = watch.topics.get(topic);
    if (known?.problem && watch.state === "live") {
      const since = known.data ? ` What you see is from ${clock(known.since, now)}.` : "";
      shown.push(el("p", { class: "banner bad" }, `The store cannot be asked: ${known.problem.message}${since}`));
      break;
    }
  }
  show(place, shown);
}
