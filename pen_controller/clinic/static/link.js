// The one line to the service: a WebSocket that comes back by itself, and requests. Nothing here knows the page.

const RETRY_MS = 500;
const NOT_LET_IN = 401;
const listeners = new Set();
let socket;

/** When the last snapshot came (`performance.now`), and whether this browser is let in at all. */
export const line = { heard_ms: -Infinity, letIn: true };

/** The service said no: `text` for a person, `limit` ({ name, value, unit, layer, source }) where one forbids it. */
export class Refused extends Error {
  constructor({ text, limit = null, field = null }, status) {
    super(text);
    Object.assign(this, { limit, field, status });
  }
}

/** Calls `take` with each message; what it throws is its own affair and stops nobody else. */
export function listen(take) {
  listeners.add(take);
}

/** Sends a message, if the line is up; returns whether it was. */
export function tell(message) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(message));
  return true;
}

/** Asks the service to do something; returns its answer. Throws Refused. */
export async function post(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return answered(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

/** Returns what the service has there. Throws Refused. */
export async function get(path) {
  return answered(await fetch(path));
}

async function answered(answer) {
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok || said.error) throw new Refused(said.error ?? { text: `${answer.status}` }, answer.status);
  return said;
}

function open() {
  socket = new WebSocket(`ws://${location.host}/live`);
  socket.addEventListener("message", ({ data }) => take(JSON.parse(data)));
  socket.addEventListener("open", () => (line.letIn = true));
  socket.addEventListener("close", () => {
    fetch("/api/setup").then(({ status }) => (line.letIn = status !== NOT_LET_IN), () => {});
    setTimeout(open, RETRY_MS);
  });
}

function take(message) {
  if ("n" in message) line.heard_ms = performance.now();
  for (const listener of listeners) {
    try {
      listener(message);
    } catch (error) {
      reportError(error);
    }
  }
}

open();
