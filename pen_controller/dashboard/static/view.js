// Puts what is known of the pens on the page: text nodes and attributes, never HTML.

import { FaceMap } from "./face.js";

const FIGURES = [
  ["depth", "mm deep"],
  ["rate", "Hz"],
  ["passes", "passes"],
  ["density", "per cm²"],
];
const DETAILS = [
  ["force", "Force", "N"],
  ["coverage", "Pass under way", "%"],
  ["battery", "Battery", "%"],
];
const ICONS = { idle: "○", ready: "◐", running: "▶", stopped: "■", fault: "▲", unknown: "?" };

/** The page; `show` brings it to what `Pens.view` returned. */
export class Page {
  #cards = new Map();
  #sites = document.getElementById("sites");

  /** Says once what is listened to. */
  constructor(listening) {
    say(document.getElementById("listening"), listening);
  }

  show({ brokers, pens, skipped }) {
    listed(document.getElementById("brokers"), brokers, "li", (item, broker) => {
      item.className = broker.connected ? "broker" : "broker gone";
      say(item, broker.text);
    });
    const count = document.getElementById("skipped");
    count.hidden = skipped === "";
    say(count, `Messages left out: ${skipped}`);
    document.getElementById("empty").hidden = pens.length > 0;
    for (const [place, pen] of pens.entries()) this.#card(pen, place).show(pen);
  }

  /** The card of a pen; a new one goes to its place in the order. */
  #card(pen, place) {
    if (!this.#cards.has(pen.key)) {
      const card = new Card(pen);
      this.#cards.set(pen.key, card);
      const cards = this.#sites.querySelectorAll("article");
      this.#sites.insertBefore(card.element, cards[place] ?? null);
    }
    return this.#cards.get(pen.key);
  }
}

class Card {
  #texts = {};
  #map = new FaceMap();

  constructor({ name, site }) {
    const text = (key, tag, className) => (this.#texts[key] = make(tag, className));
    const figures = FIGURES.map(([key, label]) =>
      make("div", "figure", make("dt", "", label), text(key, "dd", key)),
    );
    const details = DETAILS.map(([key, label, unit]) =>
      make("div", "detail", make("dt", "", label), make("dd", "", text(key, "span", key), ` ${unit}`)),
    );
    const heading = make("tr", "", ...["Area", "passes", "per cm²"].map((label) => make("th", "", label)));
    this.areas = make("tbody", "");
    this.table = make("table", "areas", make("thead", "", heading), this.areas);
    this.notes = make("ul", "notes");
    this.badge = make("p", "state", (this.icon = make("span", "icon")), text("state", "span", "state-word"));
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
    this.#texts.advice.setAttribute("aria-live", "polite");
  }

  show(pen) {
    const { word, look, detail } = pen.state;
    const partial = pen.partial ? "Joined under way: areas treated before show when the treatment ends." : "";
    const texts = { ...pen, state: word, detail, partial };
    for (const [key, element] of Object.entries(this.#texts)) say(element, texts[key]);
    say(this.icon, ICONS[look]);
    this.element.dataset.look = look;
    this.element.dataset.silent = pen.silent;
    this.table.hidden = pen.areas.length === 0;
    this.#map.show(pen.areas, pen.activeArea);
    listed(this.areas, pen.areas, "tr", showArea);
    listed(this.notes, pen.notes, "li", (item, note) => say(item, `${note.time} ${note.text}`));
  }
}

function showArea(row, { label, passes, density, closed }) {
  listed(row, [closed ? `${label} (closed)` : label, passes, density], "td", say);
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

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
