// Reads what came over MQTT. Of a payload only what the page shows is checked; what else is in it may be anything.

const SCHEMA = 1;
const MOST_BYTES = 65_536;
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** What came is none of ours: `kind` is "malformed" or "version". */
export class ForeignError extends Error {
  constructor(kind, text) {
    super(text);
    this.kind = kind;
  }
}

const text = (value) => typeof value === "string";
const word = (value) => text(value) && value.length <= 64;
const amount = (value) => Number.isFinite(value) && value >= 0;
const count = (value) => Number.isSafeInteger(value) && value >= 0;
const object = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const optional = (check) => (value) => value === undefined || value === null || check(value);
const fields = (checks) => (value) =>
  object(value) && Object.entries(checks).every(([name, check]) => check(value[name]));

const coverage = fields({ low: amount, high: amount });
const received = fields({ area: word, passes: optional(count), density_per_cm2: amount, closed: optional(word) });
const areas = (value) => Array.isArray(value) && value.every(received);
const eventBody = fields({ area: optional(word), density_per_cm2: optional(amount), passes: optional(count) });

/** Each kind of topic: whether it is of the journal, so that the session ends the topic, and what is shown of it. */
const KINDS = {
  status: { check: fields({ status: word, reason: text }) },
  meta: { check: object },
  state: {
    check: fields({
      state: word, latch: optional(word), area: optional(word), valid: optional(isBoolean), session: optional(word),
      areas: optional(areas),
    }),
  },
  live: {
    check: fields({
      session: optional(word), area: optional(word), depth_um: optional(count), rate_dhz: optional(count),
      force_mn: optional(count), passes: optional(count), coverage: optional(coverage), density_per_cm2: amount,
      battery_pct: optional(count), advice: optional(text), valid: optional(isBoolean),
    }),
  },
  pass: { bySession: true, check: fields({ area: word, pass_index: count }) },
  event: { bySession: true, check: fields({ kind: word, body: eventBody }) },
  summary: { bySession: true, check: fields({ areas }) },
  raw: { bySession: true, check: object },
};

/**
 * Returns { site, pen, kind, payload } of a message.
 * Throws ForeignError if it is not what its topic promises.
 */
export function parse(topic, bytes) {
  const [prefix, version, site, pen, name, session, ...more] = topic.split("/");
  const kind = Object.hasOwn(KINDS, name ?? "") ? KINDS[name] : undefined;
  if (prefix !== "pen" || version !== "v1" || more.length || !NAME.test(site) || !NAME.test(pen) || !kind) {
    throw new ForeignError("malformed", "the topic is none of ours");
  }
  if (kind.bySession ? !NAME.test(session ?? "") : session !== undefined) {
    throw new ForeignError("malformed", "a session is missing or too many");
  }
  const payload = decode(bytes);
  if (payload.schema !== SCHEMA) {
    throw new ForeignError(count(payload.schema) ? "version" : "malformed", "another schema version");
  }
  const header = payload.pen === pen && word(payload.wall) && (!kind.bySession || payload.session === session);
  if (!header || (kind.bySession && !count(payload.seq)) || !kind.check(payload)) {
    throw new ForeignError("malformed", "a field is missing or of another type");
  }
  return { site, pen, kind: name, payload };
}

/** Whether a name can stand in a topic. */
export const isName = (name) => NAME.test(name);

function decode(bytes) {
  try {
    const value = bytes.length <= MOST_BYTES && JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (object(value)) return value;
  } catch {
    // falls through: it is no JSON
  }
  throw new ForeignError("malformed", "no JSON object");
}

function isBoolean(value) {
  return typeof value === "boolean";
}
