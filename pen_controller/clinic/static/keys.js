// Keys beside STOP: areas by figure, R held to resume, a key held to run, and the barcode scanner, which types.

import { tell } from "./link.js";
import { ask, change, page } from "./page.js";
import { isTyping } from "./stop.js";
import { finishArea, resume, startArea } from "./treating.js";

const RESUME_MS = 1000;
const TICK_MS = 50;
const BURST_MS = 40; // no hand types so fast, and no scanner so slowly
const LEAST_SCANNED = 8;

let burst = { text: "", last_ms: 0, field: null, before: "" };
let resuming;

/** Begins to hold for resumption; after a second it is done. Let go of earlier, nothing happens. */
export function holdToResume() {
  if (resuming !== undefined) return;
  const [since_ms, latch_id] = [performance.now(), page.snapshot?.pen?.latch?.id ?? 0];
  resuming = setInterval(() => {
    const held_ms = performance.now() - since_ms;
    change({ held_ms: Math.min(held_ms, RESUME_MS) });
    if (held_ms < RESUME_MS) return;
    letGo();
    resume(latch_id);
  }, TICK_MS);
}

/** Lets go before the second is over. */
export function letGo() {
  clearInterval(resuming);
  resuming = undefined;
  if (page.held_ms > 0) change({ held_ms: 0 });
}

/** Hands over what the scanner read; "" as long as it may be a person who types. */
function scanned(event) {
  const now_ms = performance.now();
  const typed = event.ctrlKey && event.code === "BracketRight" ? "\x1d" : event.key; // how scanners type FNC1
  if (event.key === "Enter" && now_ms - burst.last_ms < BURST_MS && burst.text.length >= LEAST_SCANNED) {
    const { text, field, before } = burst;
    burst = { text: "", last_ms: 0, field: null, before: "" };
    if (field !== null) field.value = before;
    return text;
  }
  if (typed.length !== 1) return "";
  if (now_ms - burst.last_ms >= BURST_MS) {
    const field = event.target.matches?.("input, textarea") ? event.target : null;
    burst = { text: "", last_ms: 0, field, before: field?.value ?? "" };
  }
  burst.text += typed;
  burst.last_ms = now_ms;
  return "";
}

/** Puts what a scanned label says into the fields of the cartridge; a person adds what it does not say. */
async function readLabel(scan) {
  change({ step: "checklist" });
  const label = await ask("/api/cartridge/scan", { scan });
  if (label !== null) change({ label });
}

function onDown(event) {
  const text = scanned(event);
  if (text !== "") {
    event.preventDefault();
    readLabel(text);
    return;
  }
  if (page.stale || event.repeat || isTyping(event) || event.ctrlKey || event.altKey || event.metaKey) return;
  const { hold_key: holdKey } = page.snapshot?.me?.settings ?? {};
  if (holdKey && event.code === holdKey) return hold(event);
  if (page.shown !== "treat") return;
  const area = page.snapshot.treatment?.plan[Number(event.key) - 1];
  if (area && !page.snapshot.running) change({ area: area.area });
  if (event.code === "KeyR") holdToResume();
}

function onUp(event) {
  if (event.code === "KeyR") letGo();
  if (event.code === page.snapshot?.me?.settings?.hold_key) release();
}

function hold(event) {
  event.preventDefault();
  if (page.held || page.shown !== "treat") return;
  page.held = true;
  startArea({ hold: true });
}

/** The key is up, or nobody can say any more that it is down: the needles come home. */
function release() {
  if (!page.held) return;
  page.held = false;
  if (!tell({ hold: false })) finishArea();
}

function leave() {
  letGo();
  release();
}

window.addEventListener("keydown", onDown, { capture: true });
window.addEventListener("keyup", onUp, { capture: true });
window.addEventListener("blur", leave);
document.addEventListener("visibilitychange", () => document.hidden && leave());
