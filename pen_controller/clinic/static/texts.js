// The texts of the page: the service's catalogue in one language.

export const DASH = "–";
let texts = {};
let language = "en";

/** Loads a language; the one there was stays if that fails. Throws what `fetch` throws. */
export async function speak(code) {
  const answer = await fetch(`/api/texts/${code}`);
  if (!answer.ok) throw new Error(`texts in ${code}: ${answer.status}`);
  texts = await answer.json();
  language = code;
  document.documentElement.lang = code;
}

/** Returns a text with its {placeholders} filled; of a key without a text what the key says itself. */
export function t(key, values = {}) {
  const text = texts[key] ?? key.split(".").at(-1).replaceAll("_", " ");
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? DASH);
}

/** Returns the words of an entry of the configuration: the clinic's own, else the catalogue's. */
export const worded = (table, { name, text, ...figures }) => text || t(`${table}.${name}`, figures);

/** Returns a figure for a person; what is not known is a dash. */
export function figure(value, digits = 0) {
  if (typeof value !== "number" || !Number.isFinite(value)) return DASH;
  const how = { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false };
  return value.toLocaleString(language, how);
}

/** Returns the time of day of the clock on the wall. */
export const clock = () => new Date().toLocaleTimeString(language, { hourCycle: "h23" });
