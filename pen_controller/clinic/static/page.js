// What the page knows, in one object, and how it asks the service for more. Every module draws from it; none keeps its own.

import { Refused, get, post } from "./link.js";
import { t } from "./texts.js";

export { h, render, Component, Fragment } from "./vendor/preact.module.js";
import { h } from "./vendor/preact.module.js";
import htm from "./vendor/htm.module.js";

export const html = htm.bind(h);

export const page = {
  setup: null, // what is told before anybody logs in
  config: null, // areas, questions, steps
  face: null, // the shapes of the map
  snapshot: null, // the newest word of the service
  stale: true, // it is older than a word holds
  focused: true, // keys reach this window
  step: null, // the screen a person chose; null: the one the treatment is at
  area: null, // the area chosen
  wanted: {}, // depth, rate, passes per area, as far as a person has changed them
  draft: null, // the plan as it is being edited
  plans: null, // names of the templates, once they are asked for
  leftOut: {}, // areas that were not offered, each with the reason
  label: null, // what was scanned of a cartridge's label
  answers: [], // what persons have entered in this treatment
  correcting: null, // the number of the entry that is being corrected
  accounts: null, // who works here, once a clinician asks
  told: "", // what was done, where nothing else shows it
  binding: null, // which of the keys is being chosen
  drawn_n: 0, // the newest word that was really drawn
  failed: false, // nothing is drawn any more
  held: false, // the key for hold-to-run is down
  held_ms: 0, // how long the key or button to resume has been held
  problem: null, // why the last thing asked for was not done
  busy: "", // what is being asked for
};

let draw = () => {};

/** Has `redraw` called after each change. */
export function drawWith(redraw) {
  draw = redraw;
}

/** Changes what the page knows, and brings the screen to it. */
export function change(patch) {
  Object.assign(page, patch);
  draw();
}

/** Asks the service to do something; returns its answer, or null if it did not: then the reason is shown. */
export const ask = (path, body) => asked(path, () => post(path, body));

/** Asks the service for something; returns its answer, or null as `ask` does. */
export const fetched = (path) => asked(path, () => get(path));

async function asked(path, work) {
  change({ problem: null, told: "", busy: path });
  try {
    return await work();
  } catch (error) {
    change({ problem: error instanceof Refused ? error : new Refused({ text: t("page.no_answer") }) });
    return null;
  } finally {
    change({ busy: "" });
  }
}

/** Goes to a screen, and to its heading, so that who cannot see knows. */
export function go(step) {
  change({ step, problem: null, told: "" });
  queueMicrotask(() => document.querySelector("main h2")?.focus({ preventScroll: true }));
  window.scrollTo(0, 0);
}

/** Learns anew what was entered in the treatment. */
export async function learn() {
  const said = await fetched("/api/answers");
  if (said !== null) change({ answers: said.answers });
}

/** What was entered, the oldest first: each record with its `corrections`, and with what `holds` of it, null if it was taken back. */
export function entries() {
  const isCorrection = ({ kind }) => kind === "correction";
  return page.answers.filter((entry) => !isCorrection(entry)).map((entry) => {
    const corrections = page.answers.filter((other) => isCorrection(other) && other.body.of_seq === entry.seq);
    return { ...entry, corrections, holds: corrections.length === 0 ? entry.body : corrections.at(-1).body.body };
  });
}

/** The configuration of an area by its name. */
export const areaOf = (name) => page.config.areas.find((area) => area.name === name);

/** The name of an area for a person. */
export function areaLabel(name) {
  const said = t(`area.${name}`);
  return said === name.replaceAll("_", " ") ? (areaOf(name)?.label ?? said) : said;
}
