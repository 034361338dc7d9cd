// A list that comes page by page, and is read again when it is asked to be: never by itself.

import { get } from "./api.js";
import { el } from "./element.js";
import { button } from "./parts.js";
import { session } from "./session.js";

const MOST_EMPTY = 100;

// `name` is that of the list in its answers. `items` are those of the pages so far, null before the first one, which
// was read `at`.
export class Pager {
  constructor(path, name, query, redraw) {
    this.path = path;
    this.name = name;
    this.query = query;
    this.redraw = redraw;
    this.items = null;
    this.cursor = null;
    this.problem = null;
    this.at = 0;
    this.busy = false;
    this.asked = 0;
  }

  // Read it from the beginning, with another query where one is given.
  async load(query = this.query) {
    this.query = query;
    await this.read(null);
  }

  more() {
    return this.read(this.cursor);
  }

  async read(cursor) {
    const mine = ++this.asked;
    this.busy = true;
    this.redraw();
    const before = cursor === null ? [] : this.items;
    try {
      let found = [];
      // A page may be empty and have a cursor.
      for (let at = 0; at < MOST_EMPTY && (at === 0 || cursor !== null) && !found.length; at += 1) {
        const page = await get(this.path, { ...this.query, cursor });
        if (mine !== this.asked) return;
        found = page[this.name];
        cursor = page.cursor;
      }
      this.items = [...before, ...found];
      this.cursor = cursor;
      this.problem = null;
      if (!before.length) this.at = session.now;
    } catch (error) {
      if (mine !== this.asked) return;
      this.problem = error.message;
    }
    this.busy = false;
    this.redraw();
  }

  // What is below the list: its next page, and what went wrong.
  foot() {
    return [
      this.problem && el("p", { class: "problem" }, this.problem),
      el(
        "div",
        { class: "actions" },
        this.cursor !== null && button("more", () => this.more(), "", { disabled: this.busy }),
        button("read again", () => this.load(), "quiet", { disabled: this.busy }),
      ),
    ];
  }
}
