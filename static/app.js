// Toasts, words for screen readers, and what happens when an HTMX request fails.
// Every page works without this file.
"use strict";

const TOAST_MS = 5000;
const ICONS = { ok: "check-circle-fill", warn: "exclamation-triangle-fill", bad: "x-octagon-fill" };

// Scripts run but htmx did not come: show what is there for browsers without scripts.
if (typeof htmx === "undefined") {
  for (const spare of document.querySelectorAll("noscript")) {
    const parsed = document.createElement("template");
    parsed.innerHTML = spare.textContent;
    spare.replaceWith(parsed.content);
  }
}

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function icon(name) {
  const element = make("i", `bi bi-${name}`);
  element.setAttribute("aria-hidden", "true");
  return element;
}

// An action is a link (href), or a POST, through HTMX when it names the element to replace.
function act(action) {
  if (action.target) {
    htmx.ajax("POST", action.url, { target: action.target, swap: "outerHTML", values: action.fields ?? {} });
    return;
  }
  const form = make("form", "");
  form.method = "post";
  form.action = action.url;
  const token = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
  for (const [name, value] of Object.entries({ csrf_token: token, ...action.fields })) {
    for (const one of [value].flat()) {
      const input = make("input", "");
      Object.assign(input, { type: "hidden", name, value: one });
      form.append(input);
    }
  }
  document.body.append(form);
  form.submit();
}

function toast({ text, kind = "ok", action = null }) {
  const note = make("div", "toast-note");
  const words = make("span", `say say-${kind}`);
  words.append(icon(ICONS[kind] ?? ICONS.ok), make("span", "", text));
  note.append(words);
  if (action?.href) {
    const link = make("a", "push", action.label);
    link.href = action.href;
    note.append(link);
  } else if (action) {
    const button = make("button", "btn-text push", action.label);
    button.type = "button";
    button.addEventListener("click", () => { note.remove(); act(action); });
    note.append(button);
  }
  const close = make("button", `btn btn-ghost btn-sm btn-icon${action ? "" : " push"}`);
  close.type = "button";
  close.title = "Dismiss";
  close.setAttribute("aria-label", "Dismiss");
  close.append(icon("x-lg"));
  close.addEventListener("click", () => note.remove());
  note.append(close);
  document.getElementById("toasts").append(note);
  if (kind === "bad") return; // stays until it is dismissed
  const leave = () => (note.matches(":hover, :focus-within") ? setTimeout(leave, TOAST_MS) : note.remove());
  setTimeout(leave, TOAST_MS);
}

// What a control shows goes back to what is stored.
function restore(detail) {
  const event = detail.requestConfig?.triggeringEvent;
  if (event?.type === "change") detail.elt.closest("form")?.reset();
}

document.addEventListener("toast", (event) => toast(event.detail));
document.addEventListener("announce", (event) => {
  document.getElementById("announce").textContent = event.detail.value;
});
document.addEventListener("htmx:responseError", ({ detail }) => {
  restore(detail);
  if (detail.xhr.getResponseHeader("HX-Trigger")?.includes('"toast"')) return;
  toast({ kind: "bad", text: `Not done. The server answered ${detail.xhr.status}. Reload the page and try again.` });
});
for (const name of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, ({ detail }) => {
    restore(detail);
    const saving = detail.requestConfig?.verb !== "get";
    toast({ kind: "bad", text: `${saving ? "Not saved. " : ""}The server did not answer. Try again.` });
  });
}

// A form that came back: htmx would return the focus to the field it was in.
document.addEventListener("htmx:afterSettle", ({ target }) => {
  target.querySelector?.("#form-errors")?.focus();
});

// Long pickers: keep only the rows with these words in sight. Without a script the field is not shown.
document.addEventListener("input", ({ target }) => {
  const list = target.dataset?.filter && document.getElementById(target.dataset.filter);
  if (!list) return;
  const words = target.value.trim().toLowerCase();
  for (const row of list.querySelectorAll(".pop-list > li")) row.hidden = !row.textContent.toLowerCase().includes(words);
});

// A link that opens beside its list needs the room; on narrow screens it opens its own page.
document.addEventListener("htmx:confirm", (event) => {
  if (!event.detail.elt.hasAttribute("data-beside") || matchMedia("(min-width: 1280px)").matches) return;
  event.preventDefault();
  location.assign(event.detail.elt.href);
});

// A live log follows its end only while the reader is there.
document.addEventListener("htmx:oobBeforeSwap", ({ detail: { target } }) => {
  if (target.getAttribute("role") !== "log") return;
  const below = target.scrollHeight - target.scrollTop - target.clientHeight;
  target.dataset.follows = String(below < 8);
});
document.addEventListener("htmx:oobAfterSwap", ({ detail: { target } }) => {
  if (target.dataset.follows === "true") target.scrollTop = target.scrollHeight;
});
