// STOP, and nothing else. It needs the line and its own button; whatever else of the page has failed, this works.

import { line, listen, post, tell } from "./link.js";
import { t } from "./texts.js";

const RETRY_MS = 250;
const SHOWN_MS = 3000; // a confirmation is seen, also where the pen goes on at once
const CONTROLS = "a, button, input, select, summary, textarea, [contenteditable]";
const FIELDS = 'input:not([type="radio"], [type="checkbox"], [type="range"]), select, textarea';

const button = document.getElementById("stop");
const said = document.getElementById("stop-said");
const told = document.getElementById("stop-told");
let stop = null; // { id, phase: "sent" | "handled" | "confirmed" | "none", at, since_ms, retry }
let key = "";
let running = false;

/** Stops the pen; the service is told again and again until the pen has confirmed it. */
export function pressStop() {
  if (stop === null || stop.phase === "confirmed" || stop.phase === "none") {
    clearInterval(stop?.retry);
    stop = { id: crypto.randomUUID(), phase: "sent", at: "", since_ms: performance.now(), asking: false };
    stop.retry = setInterval(again, RETRY_MS);
  }
  tell({ stop: stop.id });
  show();
}

/** Binds one more key to STOP, by its `KeyboardEvent.code`; "" binds none. */
export function bindStop(code) {
  key = code;
}

/** Whether what has the focus takes text: a key typed there is no command while nothing moves. */
export function isTyping({ target, key: typed }) {
  return !running && typed.length === 1 && target instanceof Element && target.matches(FIELDS);
}

/** Another way each time: the socket may hang, and so may a request. */
function again() {
  const { id } = stop;
  tell({ stop: id });
  if (stop.asking) return;
  stop.asking = true;
  post("/api/stop", { stop: id })
    .catch(() => {}) // only the pen's own word counts, and it comes by the socket
    .finally(() => stop.id === id && (stop.asking = false));
}

function take(message) {
  if ("n" in message) running = ["running", "stopping"].includes(message.pen?.state);
  if (stop !== null && message.stop === stop.id) settle(message.phase, message.at);
  if (stop?.phase === "handled" && message.pen === null) settle("none");
  const over = stop?.phase === "none" || (stop?.phase === "confirmed" && message.pen && message.pen.state !== "latched");
  if (over && performance.now() - stop.since_ms > SHOWN_MS) stop = null;
  show();
}

function settle(phase, at = "") {
  if (stop.phase === "confirmed") return;
  Object.assign(stop, { phase, at, since_ms: performance.now() });
  if (phase === "confirmed" || phase === "none") clearInterval(stop.retry);
}

function show() {
  const phase = stop?.phase ?? "ready";
  const text = { ready: "", none: t("page.stop.none"), confirmed: t("page.stop.confirmed", { at: stop?.at }) }[phase];
  button.dataset.phase = phase;
  say(said, text ?? t("page.stop.sent"));
  say(told, text ?? t("page.stop.sent"));
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function onKey(event) {
  const space = event.code === "Space" && (event.target === button || !event.target.closest?.(CONTROLS));
  const enter = event.code === "Enter" && event.target === button;
  const bound = key !== "" && event.code === key && !isTyping(event);
  if (event.key !== "Escape" && !space && !enter && !bound) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (!event.repeat) pressStop();
}

button.addEventListener("pointerdown", pressStop); // on press: a click comes only when the finger is lifted
button.addEventListener("click", ({ detail }) => detail === 0 && pressStop()); // of a screen reader, without a pointer
window.addEventListener("keydown", onKey, { capture: true });
listen(take);
setInterval(() => {
  if (performance.now() - line.heard_ms > 600) running = true; // nobody knows: keys stop
}, RETRY_MS);
