// What a person asks of the pen while treating. The service judges each of it again.

import { tell } from "./link.js";
import { areaOf, ask, change, page } from "./page.js";
import { mayTreat } from "./parts.js";

/** Says that this page is alive: it draws, and is seen. If needles run by it and it falls silent, the service stops them. */
export function sayAlive() {
  if (page.failed || document.hidden || page.snapshot === null) return;
  tell({ alive: page.drawn_n, operating: mayTreat(), hold: page.held });
}

/** What would be started for an area, or runs there: the plan's figures, as changed since. */
export function wantedFor(name) {
  const { treatment, running } = page.snapshot;
  const planned = treatment?.plan.find(({ area }) => area === name);
  const set = running?.area === name && { depth_mm: running.set_depth_mm, rate_hz: running.set_rate_hz };
  return planned && { ...planned, ...set, ...page.wanted[name] };
}

/** The area of the controls: the one that runs, else the one chosen, else the first that is not done. */
export function currentArea() {
  const { running, areas, treatment } = page.snapshot;
  const plan = treatment?.plan ?? [];
  if (running) return running.area;
  if (plan.some(({ area }) => area === page.area)) return page.area;
  return (plan.find((each) => !isFinished(each.area)) ?? plan[0])?.area ?? null;
}

/** Whether an area has been given what is wanted, or is closed. */
export function isFinished(name) {
  const given = page.snapshot.areas.find(({ area }) => area === name);
  return given !== undefined && (Boolean(given.closed) || given.passes >= (wantedFor(name)?.passes ?? 0));
}

/** Starts the area chosen; `hold` says that the needles run only while a key is held. */
export async function startArea({ hold = false } = {}) {
  const wanted = wantedFor(currentArea());
  if (!wanted || page.snapshot.running) return;
  const { area, depth_mm, rate_hz, passes, size_cm2, indication } = wanted;
  const asked = { area, depth_mm, rate_hz, passes, size_cm2, indication, live: page.snapshot.live, hold };
  sayAlive();
  await ask("/api/area/start", asked);
}

/** Ends the area that runs, in order. */
export const finishArea = () => ask("/api/area/finish");

/** Changes what is wanted for an area, on this page only. */
export function choose(name, patch) {
  change({ wanted: { ...page.wanted, [name]: { ...page.wanted[name], ...patch } } });
}

/** Has the pen follow what was chosen, if that area runs; refused, the page goes back to what holds. */
export async function keep(name) {
  if (page.snapshot.running?.area !== name) return;
  const { depth_mm, rate_hz } = wantedFor(name);
  if ((await ask("/api/area/change", { depth_mm, rate_hz })) === null) change({ wanted: { ...page.wanted, [name]: {} } });
}

/** Lets the treatment go on after the latch that was shown; a newer one stays. */
export function resume(latch_id) {
  const { pen, treatment } = page.snapshot ?? {};
  if (page.stale || !pen?.connected || !(pen.latch || treatment?.interrupted)) return;
  ask("/api/resume", { latch_id });
}

/** What the limits call the figures of a plan. */
export const LIMITS = { depth_mm: "depth", rate_hz: "rate", passes: "passes", size_cm2: "size" };
const TINY = 1e-9;
const STEPS = { depth_mm: 0.05, rate_hz: 1 };

/** The ends of a figure of an area: from the least, by steps, to the most that the limits allow, and who says so. */
export function ends(name, figure) {
  const { limits = {}, floors = {}, depth_step_mm, [figure]: planned } = page.snapshot.treatment.plan.find(({ area }) => area === name) ?? {};
  const most = limits[LIMITS[figure]];
  const own = areaOf(name)?.[figure] ?? {};
  const step = (figure === "depth_mm" && depth_step_mm) || STEPS[figure];
  const floor = floors[LIMITS[figure]]?.value ?? 0;
  const usual = Math.max(floor, Math.ceil((own.min ?? 0) / step - TINY) * step);
  return {
    least: planned < usual ? floor : usual, // who planned less than is usual may have it
    most: most?.value ?? own.hard,
    source: most?.source ?? own.source,
    step,
  };
}
