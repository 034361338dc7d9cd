// JSON text of which some values stay as they are written.
//
// JSON.parse makes 9007199254740993 into 9007199254740992. A payload is its sender's, so it is shown as its text:
// `read` gives each value under the name "payload" as the text that the server sent.

const SPACE = /[ \t\r\n]*/y;
const STRING = /"(?:[^"\\]|\\.)*"/y;
const SCALAR = /[^\s,\]}]+/y;

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  take(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (!found) throw new SyntaxError(`invalid JSON at ${this.at}`);
    this.at = pattern.lastIndex;
    return found[0];
  }

  skip(mark) {
    this.take(SPACE);
    if (this.text[this.at] !== mark) return false;
    this.at += 1;
    return true;
  }

  value(raw) {
    this.take(SPACE);
    const from = this.at;
    const first = this.text[from];
    let value;
    if (first === "{") value = this.members();
    else if (first === "[") value = this.items();
    else value = JSON.parse(this.take(first === '"' ? STRING : SCALAR));
    return raw ? this.text.slice(from, this.at) : value;
  }

  members() {
    const made = {};
    this.skip("{");
    while (!this.skip("}")) {
      this.skip(",");
      this.take(SPACE);
      const name = JSON.parse(this.take(STRING));
      this.skip(":");
      made[name] = this.value(name === "payload");
    }
    return made;
  }

  items() {
    const made = [];
    this.skip("[");
    while (!this.skip("]")) {
      this.skip(",");
      made.push(this.value(false));
    }
    return made;
  }
}

// The value of a JSON text of the server; throws SyntaxError.
export function read(text) {
  return new Reader(text).value(false);
}
