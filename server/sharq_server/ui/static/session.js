// What this tab knows: the server's configuration, its token, and what the token may do.

import { API } from "./place.js";

// A token is kept for this tab alone, and for this server where several share a host.
const KEY = `sharq.token ${API.pathname}`;
const READING = new Set(["metrics", "status", "jobs"]);

// `operations`: those that the token allows, by the server's welcome; null before it.
export const session = {
  config: { environment: null, read_only: false, version: "", tokens: false, live: true },
  operations: null,
  clock: 0,

  get token() {
    return sessionStorage.getItem(KEY);
  },

  set token(secret) {
    if (secret === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, secret);
    this.operations = null;
  },

  // Whether the page offers an operation; with `looking`, only to look.
  may(operation, looking = false) {
    if (this.operations !== null && !this.operations.includes(operation)) return false;
    return looking || READING.has(operation) || !this.config.read_only;
  },

  // The store's clock now, in ms, as far as it was told.
  get now() {
    return Date.now() + this.clock;
  },

  tell(serverTime) {
    this.clock = serverTime - Date.now();
  },
};
