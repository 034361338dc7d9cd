// Questions before something is done: every action goes through one, which shows its request for curl.

import { Failure, call, curl } from "./api.js";
import { el, show } from "./element.js";
import { session } from "./session.js";

export function toast(text, kind = "") {
  const shown = el("p", { class: `toast ${kind}` }, text);
  document.getElementById("toasts").append(shown);
  setTimeout(() => shown.remove(), 6000);
}

// A modal dialog with these children; `close` of it is called when it is gone, however.
export function open(children, onClose = () => {}) {
  const dialog = el("dialog", null, children);
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

async function copy(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    return "copied";
  } catch {
    // Not on a page without TLS: then the text is marked, and the keyboard copies it.
    getSelection().selectAllChildren(node);
    return "press Ctrl+C";
  }
}

function input({ name, label, value = "", hint, kind = "text", options, required, inputmode }) {
  const id = `field-${name}`;
  const attributes = { id, name, required, "aria-describedby": hint && `${id}-hint`, autocomplete: "off" };
  let control;
  if (options) {
    control = el("select", attributes, options.map(([word, text]) => el("option", { value: word, selected: word === value }, text)));
  } else if (kind === "checkbox") {
    return el("label", { class: "check" }, el("input", { ...attributes, type: kind, checked: Boolean(value) }), label);
  } else control = el("input", { ...attributes, type: kind, value, placeholder: hint?.placeholder, inputmode });
  const said = hint?.text ?? (typeof hint === "string" ? hint : null);
  return el("div", { class: "field" }, el("label", { for: id }, label), control, said && el("p", { id: `${id}-hint`, class: "hint" }, said));
}

// The values of a form by their names: texts, and booleans of boxes.
export function values(form) {
  return Object.fromEntries(
    [...form.elements].filter((each) => each.name).map((each) => [each.name, each.type === "checkbox" ? each.checked : each.value.trim()]),
  );
}

// Ask, do, and tell.
//
// `title`, `about` (texts) and `fields` are the question. `request(values)` is what is done, or throws an Error that
// says what is missing. `preview(request)` resolves to a text that is shown before. `verb` is on the button, `danger`
// makes it red. `done(answer)` gets the answer, and returns what to say.
export function ask({ title, about = [], fields = [], request, preview, verb, danger, done }) {
  const told = el("p", { class: "told", role: "status" });
  const problem = el("p", { class: "problem", role: "alert" });
  const line = el("code", { class: "curl", tabindex: 0 });
  const copier = el("button", { type: "button", class: "small", onclick: async () => (copier.textContent = await copy(line.textContent, line)) }, "copy as curl");
  const go = el("button", { type: "submit", class: danger ? "danger" : "primary" }, verb);
  const form = el(
    "form",
    { onsubmit: submit, oninput: refresh },
    el("h2", null, title),
    about.map((text) => el("p", null, text)),
    fields.map(input),
    preview && told,
    el("div", { class: "command" }, line, copier),
    problem,
    el("div", { class: "buttons" }, el("button", { type: "button", onclick: () => dialog.close() }, "cancel"), go),
  );
  const dialog = open(form, () => clearTimeout(timer));
  let timer = 0;
  let asked = 0;
  refresh();
  (form.querySelector("input, select") ?? (danger ? form.querySelector(".buttons button") : go)).focus();

  function made() {
    return request(values(form));
  }

  function refresh() {
    problem.textContent = "";
    copier.textContent = "copy as curl";
    clearTimeout(timer);
    told.textContent = "";
    try {
      const wanted = made();
      line.textContent = curl(wanted);
      go.disabled = false;
      if (preview) timer = setTimeout(foresee, 250, wanted);
    } catch (error) {
      line.textContent = "";
      go.disabled = true;
      problem.textContent = error.message;
    }
    copier.disabled = !line.textContent;
  }

  async function foresee(wanted) {
    const mine = ++asked;
    const text = await preview(wanted).catch((error) => error.message);
    if (mine === asked) told.textContent = text;
  }

  async function submit(event) {
    event.preventDefault();
    go.disabled = true;
    problem.textContent = "";
    try {
      const answer = await call(made());
      dialog.close();
      toast(await done(answer));
    } catch (error) {
      problem.textContent = error.message;
      go.disabled = false;
      if (!(error instanceof Failure)) console.error(error);
    }
  }
}

let asking = null;

// Ask for a token; resolves when there is one, or the question was closed. `why` says what was wrong with the last.
export function askToken(why) {
  if (asking) return asking;
  asking = new Promise((resolve) => {
    const problem = el("p", { class: "problem", role: "alert" }, why);
    const form = el(
      "form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          const { token } = values(form);
          if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token)) {
            show(problem, "This is not a token: one line of A-Z a-z 0-9 . _ ~ + / -");
            return;
          }
          session.token = token;
          dialog.close();
        },
      },
      el("h2", null, "Token"),
      el("p", null, "This server needs a token. To look, one with the operation metrics will do; what it may change is offered. It is kept for this tab."),
      input({ name: "token", label: "Token", kind: "password", required: true, hint: "The command “sharq token new NAME” makes one." }),
      problem,
      el("div", { class: "buttons" }, el("button", { type: "submit", class: "primary" }, "use it")),
    );
    const dialog = open(form, () => {
      asking = null;
      resolve();
    });
    form.querySelector("input").focus();
  });
  return asking;
}
