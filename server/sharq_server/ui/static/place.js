// Where the dashboard is: its own URL, that of the API, and which page an URL means.

// The folder of these files, `…/ui/`; the API is beside it. So all works below any prefix.
const UI = new URL("./", import.meta.url);
export const API = new URL("../", UI);

const NAME = /^[A-Za-z0-9_-]{1,100}$/;
const PAGES = { type: 1, queue: 2, job: 3, dead: 1, workers: 0 };

// The path of a page: `path("queue", "sms", "tenant-1")`, with what `query` has that is not empty.
export function path(page = "", ...names) {
  let query = "";
  if (names.length && typeof names.at(-1) === "object") {
    const given = Object.entries(names.pop()).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    if (given.length) query = `?${new URLSearchParams(given)}`;
  }
  return new URL([page, ...names].filter(Boolean).join("/") + query, UI).pathname + query;
}

export function isName(text) {
  return NAME.test(text);
}

// The page that the address shows: its name, the names in it, its query.
export function here() {
  const [page, ...names] = location.pathname.slice(UI.pathname.length).split("/").filter(Boolean);
  const query = Object.fromEntries(new URLSearchParams(location.search));
  if (!page) return { page: "overview", names: [], query };
  const most = PAGES[page];
  const known = most !== undefined && names.length <= most && (page === "dead" || names.length === most);
  return { page: known && names.every(isName) ? page : "unknown", names, query };
}

// Whether a link leads to a page of ours.
export function isOurs(link) {
  return link.origin === UI.origin && link.pathname.startsWith(UI.pathname) && !link.target;
}

// The URL of the push channel.
export function channel() {
  const url = new URL("ws/", API);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}
