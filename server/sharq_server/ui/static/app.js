// The start: which page is shown, what it watches, and the frame around it.

import { call, curl, unauthorized } from "./api.js";
import { askToken } from "./dialog.js";
import { el, show } from "./element.js";
import { banners, bar } from "./frame.js";
import { listen } from "./keys.js";
import { instead } from "./parts.js";
import { here, isOurs, path } from "./place.js";
import { session } from "./session.js";
import { Watch } from "./watch.js";

// A page is loaded when it is first shown.
const PAGES = {
  overview: () => import("./overview.js"),
  type: () => import("./type.js"),
  queue: () => import("./queue.js"),
  job: () => import("./job.js"),
  dead: () => import("./dead.js"),
  workers: () => import("./workers.js"),
  unknown: async () => ({ default: () => still("No such page", () => instead("There is no such page", "Its address is not one of the dashboard's.", el("a", { href: path() }, "Overview"))) }),
};
const DEBOUNCE = 250;
const LOADING = still("SharQ", () => el("p", { class: "hint" }, "…"));

const place = document.getElementById("page");
let context = null;
let page = LOADING;
let paused = false;
let drawing = 0;
let loaded = false;

const watch = new Watch({ onChange: redraw, onLost: whyLost });

// What a page may use.
class Context {
  constructor(names, query) {
    this.names = names;
    this.query = query;
    this.redraw = redraw;
    this.timer = 0;
    this.reload = () => {
      watch.ask();
      page.load?.();
    };
  }

  get now() {
    return paused || watch.failing ? (frozen ??= session.now) : session.now;
  }

  // Whether somebody looks.
  get active() {
    return !document.hidden && !paused;
  }

  topic(name) {
    return watch.topics.get(name);
  }

  // Watch the topics of the page, which have changed since it was made.
  want() {
    if (this === context && String(page.topics) !== String(watch.wanted)) watch.want(page.topics);
  }

  // Change the query of the address, and call `then` when nothing was typed for a moment.
  put(changes, then) {
    Object.assign(this.query, changes);
    const given = Object.entries(this.query).filter(([, value]) => value);
    history.replaceState(null, "", location.pathname + (given.length ? `?${new URLSearchParams(given)}` : ""));
    redraw();
    clearTimeout(this.timer);
    if (then) this.timer = setTimeout(then, DEBOUNCE);
  }

  // What is shown in place of a topic that is not there.
  missing(name) {
    const problem = watch.topics.get(name)?.problem;
    if ((watch.refusal ?? problem)?.code === "forbidden") {
      return instead("This token may not look at this", "It needs the operation `metrics`, and the type.", el("button", { type: "button", onclick: () => anotherToken() }, "use another token"));
    }
    if (watch.refusal) return instead("The server refuses to tell", watch.refusal.message);
    if (problem) return instead("The store cannot be asked", problem.message, "The server tries again by itself. `sharq doctor` tells what is wrong.");
    if (!session.config.live) return instead("Nothing is live here", "A WSGI server has no push channel. Run `sharq-server` on the same store, and look there; the pages of jobs and dead letters work here, too.");
    if (paused) return instead("Paused", "Go on to see numbers.");
    return el("p", { class: "hint loading" }, watch.state === "lost" ? "No answer yet…" : "Asking…");
  }

  // A first job for curl.
  example() {
    return curl({ method: "POST", path: "enqueue/sms/tenant-1/", body: { job_id: "job-1", interval: 1000, payload: { to: "Ada" } } });
  }
}

let frozen = null;

async function anotherToken(why) {
  await askToken(why);
  // What the new one may do is known by the server's next welcome; then the page reads again.
  loaded = false;
  watch.connect();
}

// A connection could not be made: because of the token, or because nobody is there?
async function whyLost() {
  if (!session.config.tokens) return "retry";
  try {
    await call({ path: "metrics/-/-/" }, true);
  } catch (error) {
    if (error.status !== 401) return "retry";
    ask(session.token !== null);
    return "stop";
  }
  return "retry";
}

function ask(had) {
  session.token = null;
  anotherToken(had ? "The server does not take this token any more, or never did." : "");
}

function redraw() {
  drawing ||= requestAnimationFrame(draw);
}

function draw() {
  drawing = 0;
  if (watch.state === "live" && !paused) frozen = null;
  // What a page may read is known by the token's operations.
  if (!loaded && page.load && (!page.needs || session.operations || !session.config.live)) {
    loaded = true;
    page.load();
  }
  document.title = `${page.title}${page.title === "Overview" ? "" : " · SharQ"}${session.config.environment ? ` (${session.config.environment})` : ""}`;
  bar(document.getElementById("bar"), { page, watch, paused, togglePause, anotherToken });
  banners(document.getElementById("banners"), { watch, page, now: session.now });
  const stale = watch.failing || watch.state === "off" || page.topics.some((topic) => watch.topics.get(topic)?.problem);
  place.classList.toggle("stale", stale && page.topics.length > 0);
  show(place, page.view());
}

function togglePause() {
  paused = !paused;
  frozen = paused ? session.now : null;
  look();
}

// There is a connection as long as somebody looks.
function look() {
  watch.setActive(!document.hidden && !paused && session.config.live);
  redraw();
}

function go() {
  const { page: name, names, query } = here();
  const same = context && page.name === name && String(names) === String(context.names);
  if (same) {
    const before = { ...context.query };
    for (const key of Object.keys(context.query)) delete context.query[key];
    Object.assign(context.query, query);
    page.changed?.(before);
  } else {
    page.close?.();
    context = new Context(names, query);
    page = { ...LOADING, name };
    load(name, context);
  }
  redraw();
}

// Show a page when its module is there, unless another one is wanted meanwhile.
async function load(name, wanted) {
  let made;
  try {
    made = (await PAGES[name]()).default(wanted);
  } catch (error) {
    console.error(error);
    made = still("No answer", () => instead("The page cannot be loaded", "The server does not answer, or has another version now.", el("button", { type: "button", onclick: () => location.reload() }, "load it again")));
  }
  if (wanted !== context) return;
  page = Object.assign(made, { name });
  loaded = false;
  place.replaceChildren();
  scrollTo(0, 0);
  watch.want(page.topics);
  redraw();
}

// A page that only says something.
function still(title, view) {
  return { title, topics: [], view };
}

function visit(address) {
  history.pushState(null, "", address);
  go();
  place.focus({ preventScroll: true });
}

addEventListener("popstate", go);
addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || !isOurs(link) || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  visit(link.href);
});
addEventListener("online", () => watch.state === "lost" && watch.connect());
document.addEventListener("visibilitychange", look);
setInterval(() => document.hidden || paused || redraw(), 1000);
unauthorized(ask);
listen({ visit, togglePause, reload: () => context?.reload() });

// A browser looks for the icon again when the address changes, and would take a relative link for one of the new address.
function holdIcon() {
  const icon = document.querySelector("link[rel=icon]");
  icon.href = icon.href;
}

async function start() {
  holdIcon();
  for (;;) {
    try {
      session.config = await call({ path: "ui/config" }, true);
      break;
    } catch (error) {
      show(place, instead("The server does not answer", error.message, "This page tries again by itself."));
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
  go();
  if (session.config.tokens && !session.token) await anotherToken();
  look();
}

start();
