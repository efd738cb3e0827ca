// What is known of all pens, from messages alone. Pure: no page, no network, no clock; times are seconds that only grow.

import { ForeignError, parse } from "./messages.js";

/** How long a word holds. Live values come at 5 Hz or more; the state of a pen that runs goes with them. */
export const HOLDS_S = { live: 3, state: 15, battery: 60 };
export const DASH = "–";

/** What calls for a person, the most urgent first. */
const CALLS = ["fault", "stopped", "lost", "advice"];
const LEFT = "closed"; // what the publisher says when it leaves in order

/** A browser does not say why a connection cannot be made, so the page says what to look at. */
const DOUBT_S = 5;
const DOUBT = "Does it run, does this browser trust its certificate, does it let this page in?";
const SIGNING_IN = "signing in";
const MOST_PENS = 200;
const MOST_AREAS = 40;
const MOST_NOTES = 4;
const MOVING = new Set(["running", "stopping"]);
const FAULTS = new Set([
  "over_depth", "over_rate", "over_force", "stalled", "depth_sensor", "force_sensor", "over_temperature",
  "armed_while_running",
]);

/** What a person reads and sees of each state on the wire: word and look; the look decides icon and colour. */
const STATES = {
  idle: ["IDLE", "idle"],
  armed: ["READY", "ready"],
  running: ["RUNNING", "running"],
  stopping: ["STOPPING", "stopped"],
  link_lost: ["LINK LOST", "fault"],
};

/** Events that are worth a line, and the line. */
const NOTES = {
  alert: (body) => (body.ended_us === null ? body.advice : undefined),
  warning: (body) => body.text,
  area_closed: (body) => body.text,
  refusal: (body) => body.message,
  interrupted: (body) => body.reason,
  counts_uncertain: (body) => body.reason,
};

/** All pens of some brokers. Feed it messages and what happens to connections; ask it for what to show. */
export class Pens {
  #labels;
  #brokers = new Map();
  #pens = new Map();
  #skipped = { malformed: 0, version: 0, beyond: 0 };

  /** `brokers` are addresses; `labels` are the names of areas for people, by their names on the wire. */
  constructor(brokers, labels) {
    this.#labels = new Map(Object.entries(labels));
    for (const url of brokers) this.#brokers.set(url, { connected: false, since_s: 0, met: false, refusal: "", asks: false });
  }

  /** A broker has taken our subscription. */
  joined(broker) {
    Object.assign(this.#brokers.get(broker), { connected: true, met: true, refusal: "", asks: false });
  }

  /** A connection has ended, or could not be made. */
  lost(broker, now_s) {
    const known = this.#brokers.get(broker);
    if (known.connected) known.since_s = now_s;
    known.connected = false;
    if (known.refusal === SIGNING_IN) known.refusal = "";
  }

  /** The broker refuses, for a reason in a few words; with `asks` until a person signs in, else for now. */
  refused(broker, now_s, refusal, asks) {
    this.lost(broker, now_s);
    Object.assign(this.#brokers.get(broker), { refusal, asks });
  }

  /** A person signs in; the form stays until that worked. */
  signing(broker) {
    this.#brokers.get(broker).refusal = SIGNING_IN;
  }

  /** Takes a message; one that is none of ours, or of one pen too many, is only counted. */
  take(broker, topic, bytes, retained, now_s) {
    try {
      const message = parse(topic, bytes);
      const key = `${broker}|${message.site}/${message.pen}`;
      const pen = this.#pens.get(key) ?? this.#meet(key, broker, message, now_s);
      if (!pen) return;
      if (!retained) [pen.heard_s, pen.spoke] = [now_s, true];
      tell(pen, message.kind, message.payload, now_s);
    } catch (error) {
      if (!(error instanceof ForeignError)) throw error;
      this.#skipped[error.kind] += 1;
    }
  }

  #meet(key, broker, { site, pen: name }, now_s) {
    if (this.#pens.size >= MOST_PENS) {
      this.#skipped.beyond += 1;
      return undefined;
    }
    const pen = { key, broker, site, name, heard_s: now_s, spoke: false, session: emptySession() };
    this.#pens.set(key, pen);
    return pen;
  }

  /** Returns what to show at a time: texts only, none of them HTML. */
  view(now_s) {
    const several = this.#brokers.size > 1;
    const pens = [...this.#pens.values()].map((pen) => ({
      key: pen.key,
      name: pen.name,
      site: several ? `${pen.site} · ${shortName(pen.broker)}` : pen.site,
      ...this.#penView(pen, now_s),
    }));
    return {
      brokers: [...this.#brokers].map(([url, broker]) => ({
        url,
        name: shortName(url),
        connected: broker.connected,
        asks: broker.asks,
        text: `${shortName(url)}: ${broker.connected ? "connected" : brokerTrouble(broker, now_s)}`,
      })),
      pens: pens.sort((a, b) => (a.site + a.name < b.site + b.name ? -1 : 1)),
      calls: pens.filter((pen) => pen.call).sort((a, b) => CALLS.indexOf(a.call.kind) - CALLS.indexOf(b.call.kind)),
      skipped: skippedText(this.#skipped),
    };
  }

  #penView(pen, now_s) {
    const silent_s = now_s - pen.heard_s;
    const live = pen.live && pen.status !== "offline" && now_s - pen.live_s <= HOLDS_S.live ? pen.live : undefined;
    const battery = pen.battery_pct !== undefined && now_s - pen.battery_s <= HOLDS_S.battery;
    const sane = live?.valid === false ? undefined : live;
    const state = stateView(pen, silent_s);
    const advice = live?.valid === false ? "Sensors not plausible" : (live?.advice ?? "");
    return {
      state,
      call: callOf(pen, state, advice, this.#brokers.get(pen.broker).connected),
      word: silent_s <= HOLDS_S.live ? (pen.spoke ? "heard now" : "waiting for a word") : `no word for ${span(silent_s)}`,
      silent: silent_s > HOLDS_S.live,
      area: live?.area ? this.#label(live.area) : DASH,
      activeArea: live?.area ?? "",
      depth: scaled(sane?.depth_um, 1000, 2),
      rate: scaled(sane?.rate_dhz, 10, 0),
      passes: scaled(sane?.passes, 1, 0),
      density: scaled(sane?.density_per_cm2, 1, 0),
      force: scaled(sane?.force_mn, 1000, 1),
      coverage: coverageText(sane?.coverage),
      battery: battery ? scaled(pen.battery_pct, 1, 0) : DASH,
      advice,
      areas: [...pen.session.areas].map(([name, area]) => ({
        name,
        label: this.#label(name),
        passes: scaled(area.passes, 1, 0),
        density: scaled(area.density_per_cm2, 1, 0),
        closed: area.closed,
        active: name === live?.area,
      })),
      bare: !pen.live && pen.session.areas.size === 0,
      partial: pen.session.id !== "" && !pen.session.whole,
      notes: pen.session.notes.map(({ wall, text }) => ({ time: timeOfDay(wall), text })),
    };
  }

  #label(name) {
    return this.#labels.get(name) ?? name;
  }
}

// --- what a message changes -----------------------------------------------------------------------------------------

function tell(pen, kind, payload, now_s) {
  const hears = { status: hearStatus, state: hearState, live: hearLive, pass: hearRecord, event: hearRecord, summary: hearRecord };
  hears[kind]?.(pen, payload, now_s, kind);
}

function hearStatus(pen, payload) {
  [pen.status, pen.reason] = [payload.status, payload.reason];
}

function hearState(pen, payload) {
  pen.state = payload;
  if (!payload.areas || !payload.session || isOlder(pen, payload)) return;
  const session = sessionOf(pen, payload.session, payload.wall);
  session.whole = true;
  for (const area of payload.areas) grow(session, area.area, area);
}

function hearLive(pen, payload, now_s) {
  [pen.live, pen.live_s] = [payload, now_s];
  if (Number.isFinite(payload.battery_pct)) [pen.battery_pct, pen.battery_s] = [payload.battery_pct, now_s];
  const session = sessionOf(pen, payload.session ?? "", payload.wall);
  if (payload.area) grow(session, payload.area, payload);
}

/** A record of the journal. One of another session counts if it is newer; after an outage old ones come late. */
function hearRecord(pen, payload, now_s, kind) {
  const live = pen.live && now_s - pen.live_s <= HOLDS_S.live;
  if (isOlder(pen, payload) || (live && payload.session !== pen.session.id)) return;
  const session = sessionOf(pen, payload.session, payload.wall);
  session.whole ||= payload.seq === 1;
  if (kind === "pass") grow(session, payload.area, { passes: payload.pass_index });
  if (kind === "summary") for (const area of payload.areas) grow(session, area.area, area);
  if (kind === "event") hearEvent(session, payload);
}

function hearEvent(session, { kind, body, wall, seq }) {
  if (kind === "area_done" && body.area) grow(session, body.area, body);
  if (kind === "area_closed" && body.area) grow(session, body.area, { closed: true });
  const said = Object.hasOwn(NOTES, kind) ? NOTES[kind](body) : undefined;
  if (typeof said !== "string" || session.notes.some((note) => note.seq === seq)) return;
  session.notes = [{ seq, wall, text: said.slice(0, 200) }, ...session.notes]
    .sort((a, b) => b.seq - a.seq)
    .slice(0, MOST_NOTES);
}

function isOlder(pen, { session, wall }) {
  return session !== pen.session.id && wall < pen.session.wall;
}

function emptySession(id = "") {
  return { id, wall: "", whole: false, areas: new Map(), notes: [] };
}

function sessionOf(pen, id, wall) {
  if (pen.session.id !== id) pen.session = emptySession(id);
  if (wall > pen.session.wall) pen.session.wall = wall;
  return pen.session;
}

/** Within a session counts only grow, so that a record that comes twice or late does no harm. */
function grow(session, name, { passes, density_per_cm2, closed }) {
  const area = session.areas.get(name) ?? { closed: false };
  if (session.areas.size >= MOST_AREAS && !session.areas.has(name)) return;
  area.passes = greatest(area.passes, passes);
  area.density_per_cm2 = greatest(area.density_per_cm2, density_per_cm2);
  area.closed ||= Boolean(closed);
  session.areas.set(name, area);
}

function greatest(before, now) {
  return Number.isFinite(now) ? Math.max(before ?? 0, now) : before;
}

// --- what is shown --------------------------------------------------------------------------------------------------

/** A state older than it holds is a dash, with what was said last beside it. */
function stateView(pen, silent_s) {
  if (pen.status === "offline") return { word: "OFFLINE", look: "unknown", detail: pen.reason };
  const { state, latch } = pen.state ?? {};
  if (state === undefined) return { word: DASH, look: "unknown", detail: "" };
  const [word, look] = stateWord(state, latch);
  const holds_s = MOVING.has(state) ? HOLDS_S.live : HOLDS_S.state;
  if (!pen.spoke || silent_s > holds_s) return { word: DASH, look: "unknown", detail: `last said ${word}` };
  return { word, look, detail: latch ? latch.replaceAll("_", " ") : "" };
}

/** Why a pen calls for a person: { kind, text }; undefined if it does not. One that was never heard calls nobody. */
function callOf(pen, { word, look, detail }, advice, connected) {
  if (!pen.spoke) return undefined;
  const text = [word, detail].filter(Boolean).join(": ");
  if (word === "STOPPED" || look === "fault") return { kind: look, text };
  if (pen.status === "offline") return pen.reason === LEFT ? undefined : { kind: "lost", text };
  const busy = pen.state && pen.state.state !== "idle";
  if (word === DASH) return busy && connected ? { kind: "lost", text: `no word, ${detail}` } : undefined;
  return advice ? { kind: "advice", text: advice } : undefined;
}

function stateWord(state, latch) {
  if (state === "latched") return FAULTS.has(latch) ? ["FAULT", "fault"] : ["STOPPED", "stopped"];
  return Object.hasOwn(STATES, state) ? STATES[state] : [state.toUpperCase(), "unknown"];
}

function scaled(value, divisor, digits) {
  return Number.isFinite(value) ? (value / divisor).toFixed(digits) : DASH;
}

function coverageText(coverage) {
  if (!coverage) return DASH;
  const [low, high] = [scaled(coverage.low, 0.01, 0), scaled(coverage.high, 0.01, 0)];
  return low === high ? low : `${low} to ${high}`;
}

function span(seconds) {
  return seconds < 600 ? `${Math.floor(seconds)} s` : `${Math.floor(seconds / 60)} min`;
}

function timeOfDay(wall) {
  const date = new Date(wall);
  return Number.isNaN(date.getTime()) ? DASH : date.toLocaleTimeString("en-GB");
}

function brokerTrouble({ refusal, since_s, met }, now_s) {
  const gone = `no connection for ${span(now_s - since_s)}, trying again`;
  return refusal || (met || now_s < DOUBT_S ? gone : `${gone}. ${DOUBT}`);
}

function shortName(url) {
  return new URL(url).host;
}

function skippedText({ malformed, version, beyond }) {
  return [
    malformed && `${malformed} not understood`,
    version && `${version} of another version`,
    beyond && `${beyond} of more pens than fit`,
  ]
    .filter(Boolean)
    .join(", ");
}
