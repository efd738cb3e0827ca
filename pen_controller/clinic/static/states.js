// What a person reads and sees of a pen's state: a word, an icon, a colour.

export const ICONS = { idle: "○", ready: "◐", running: "▶", stopped: "■", fault: "▲", lost: "▲", unknown: "?" };
const LOOKS = { idle: "idle", armed: "ready", running: "running", stopping: "stopped", latched: "stopped", link_lost: "lost" };
const FAULTS = new Set([
  "over_depth", "over_rate", "over_force", "stalled", "depth_sensor", "force_sensor", "over_temperature",
  "armed_while_running",
]);

/** Returns { look, word, why }: `word` and `why` are keys of the catalogue; "" where there is nothing to say. */
export function stateOf({ stale, snapshot }) {
  const { pen, treatment } = snapshot ?? {};
  if (stale) return said("unknown");
  if (!pen) return said("idle", "no_pen");
  if (!pen.connected || pen.state === "link_lost") return said("lost");
  const look = LOOKS[pen.state] ?? "unknown";
  const { cause } = pen.latch ?? {};
  if (look === "stopped") return said(FAULTS.has(cause) ? "fault" : "stopped", pen.state === "stopping" ? "stopping" : "", cause);
  return look === "idle" && treatment?.interrupted ? said("stopped") : said(look);
}

function said(look, word, cause) {
  return { look, word: `page.state.${word || look}`, why: cause ? `report.cause.${cause}` : "" };
}
