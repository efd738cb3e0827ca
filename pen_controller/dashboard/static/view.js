// Puts what is known of the pens on the page: text nodes and attributes, never HTML.

import { FaceMap } from "./face.js";
import { settings } from "./settings.js";
import { signInForm } from "./signin.js";

const FIGURES = [
  ["depth", "mm deep"],
  ["rate", "Hz"],
  ["passes", "passes"],
  ["density", "per cm²"],
];
const DETAILS = [
  ["force", "Force", "N"],
  ["coverage", "This pass", "%"],
  ["battery", "Battery", "%"],
];
const ICONS = { idle: "○", ready: "◐", running: "▶", stopped: "■", fault: "▲", unknown: "?", lost: "?", advice: "!" };

/** The page; `show` brings it to what `Pens.view` returned. */
export class Page {
  #cards = new Map();
  #calls = new Map();
  #forms = new Map();
  #signIn;

  /** Says once what is listened to; `signIn` is called with broker, user, password, and whether to keep them. */
  constructor(listening, signIn) {
    say(part("listening"), listening);
    this.#signIn = signIn;
  }

  show({ brokers, pens, calls, skipped }) {
    listed(part("brokers"), brokers.filter((broker) => !broker.asks), "li", (item, broker) => {
      item.className = broker.connected ? "broker" : "broker gone";
      say(item, broker.text);
    });
    const asking = brokers.filter((broker) => broker.asks).map((broker) => ({ ...broker, key: broker.url }));
    keyed(part("sign-in"), this.#forms, asking, (broker) => new Asking(broker, this.#signIn));
    part("skipped").hidden = skipped === "";
    say(part("skipped"), `Messages left out: ${skipped}`);
    say(part("summary"), summary(pens.length, calls.length));
    keyed(part("calls"), this.#calls, calls, (pen) => new Call(pen));
    keyed(part("pens"), this.#cards, pens, (pen) => new Card(pen));
    const title = calls.length > 0 ? `(${calls.length}) Pens` : "Pens";
    if (document.title !== title) document.title = title;
  }
}

function summary(pens, calls) {
  if (pens === 0) return "No pen has said anything yet. Each one appears here when it does.";
  if (calls === 0) return "No pen needs anyone now.";
  return `${calls} of ${pens} ${pens === 1 ? "pen" : "pens"} ${calls === 1 ? "needs" : "need"} someone:`;
}

/** The form of a broker that asks who we are. */
class Asking {
  constructor({ url, name }, signIn) {
    this.element = signInForm({ url, name }, (...who) => signIn(url, ...who));
  }

  show({ text }) {
    say(this.element.querySelector(".refusal"), text);
  }
}

/** A pen that needs someone, in a line that leads to its card. */
class Call {
  constructor({ key }) {
    const link = make("a", "", (this.icon = icon()), (this.text = make("span", "")));
    link.href = `#${encodeURIComponent(key)}`;
    this.element = make("li", "call", link);
  }

  show({ name, call }) {
    this.element.dataset.look = call.kind;
    say(this.icon, ICONS[call.kind]);
    say(this.text, `${name} ${call.text}`);
  }
}

class Card {
  #texts = {};
  #map = new FaceMap(settings.face);

  constructor({ key, name, site }) {
    const text = (key, tag, className) => (this.#texts[key] = make(tag, className));
    const figures = FIGURES.map(([key, label]) =>
      make("div", "figure", make("dt", "", label), text(key, "dd", key)),
    );
    const details = DETAILS.map(([key, label, unit]) =>
      make("div", "detail", make("dt", "", label), make("dd", "", text(key, "span", key), ` ${unit}`)),
    );
    const heading = make("tr", "", ...["Area", "passes", "per cm²"].map((label) => make("th", "", label)));
    for (const cell of heading.children) cell.scope = "col";
    this.areas = make("tbody", "");
    this.table = make("table", "areas", make("thead", "", heading), this.areas);
    this.notes = make("ul", "notes");
    this.badge = make("p", "state", (this.icon = icon()), text("state", "span", "state-word"));
    this.element = make(
      "article", "pen",
      make("header", "", make("h2", "", name, make("small", "", site)), this.badge, text("detail", "p", "state-detail")),
      make("p", "where", text("area", "span", "area"), text("word", "span", "word")),
      make("dl", "figures", ...figures),
      text("advice", "p", "advice"),
      make("div", "given", this.#map.element, make("div", "", this.table, text("partial", "p", "partial"))),
      make("dl", "details", ...details),
      this.notes,
    );
    this.element.id = key;
    this.element.tabIndex = -1; // so that a call leads here
  }

  show(pen) {
    const { word, look, detail } = pen.state;
    const partial = pen.partial ? "Joined under way: areas treated before show when the treatment ends." : "";
    const texts = { ...pen, state: word, detail, partial };
    for (const [key, element] of Object.entries(this.#texts)) say(element, texts[key]);
    say(this.icon, ICONS[look]);
    Object.assign(this.element.dataset, { look, silent: pen.silent, bare: pen.bare, calls: pen.call !== undefined });
    this.table.hidden = pen.areas.length === 0;
    this.#map.show(pen.areas, pen.activeArea);
    listed(this.areas, pen.areas, "tr", showArea);
    listed(this.notes, pen.notes, "li", (item, note) => say(item, `${note.time} ${note.text}`));
  }
}

function showArea(row, { label, passes, density, closed, active }) {
  listed(row, [closed ? `${label} (closed)` : label, passes, density], "td", say);
  row.className = active ? "active" : "";
}

/** A sign that repeats what a word beside it says. */
function icon() {
  const element = make("span", "icon");
  element.setAttribute("aria-hidden", "true");
  return element;
}

function part(id) {
  return document.getElementById(id);
}

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Gives a list one element for each value. */
function listed(list, values, tag, show) {
  while (list.children.length > values.length) list.lastElementChild.remove();
  while (list.children.length < values.length) list.append(make(tag, ""));
  values.forEach((value, index) => show(list.children[index], value));
}

/** Gives a list the thing of each value, in their order; a thing stays the same as long as there is its key. */
function keyed(list, things, values, create) {
  const keys = new Set(values.map(({ key }) => key));
  for (const [key, { element }] of things) {
    if (keys.has(key)) continue;
    element.remove();
    things.delete(key);
  }
  values.forEach((value, place) => {
    if (!things.has(value.key)) things.set(value.key, create(value));
    const thing = things.get(value.key);
    const there = list.children[place] ?? null;
    if (there !== thing.element) list.insertBefore(thing.element, there);
    thing.show(value);
  });
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
