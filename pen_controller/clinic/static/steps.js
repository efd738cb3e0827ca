// The way through a treatment: which screen is shown, and what is done of each.

import { ask, go, html, page } from "./page.js";
import { t } from "./texts.js";
import { isFinished } from "./treating.js";

const STEPS = ["pen", "case", "screening", "checklist", "plan", "treat", "report"];
/** Steps that show who is treated. */
const OF_PERSONS = new Set(["case", "screening", "checklist", "report"]);
/** What the service calls the place where a treatment is. */
const PLACES = { pick_pen: "pen", preparation: "screening" };

/** The screen to show: while needles run the one that treats, without a pen the one that picks it. */
export function stepOf({ snapshot, step }) {
  if (snapshot.running) return "treat";
  if (snapshot.unended) return "pen";
  const place = PLACES[snapshot.screen] ?? snapshot.screen;
  if (step !== null && (step === "settings" || mayOpen(step, snapshot))) return step;
  return OF_PERSONS.has(place) && !snapshot.me.may_read ? "pen" : place;
}

function mayOpen(step, { pen, treatment, ended, me }) {
  if (OF_PERSONS.has(step) && !me.may_read) return false;
  if (step === "pen") return true;
  if (step === "report") return treatment !== null || ended !== null;
  return treatment !== null || (step === "case" && pen !== null);
}

function isDone(step, { pen, treatment, ended, me }) {
  if (OF_PERSONS.has(step) && !me.may_read) return false;
  const lacks = (table) => treatment.missing.some(({ key }) => key.startsWith(table));
  if (step === "pen") return pen !== null;
  if (treatment === null) return step === "report" && ended !== null;
  switch (step) {
    case "case": return !lacks("case");
    case "screening": return !lacks("screening");
    case "checklist": return !lacks("checklist") && !lacks("cartridge");
    case "plan": return treatment.plan.length > 0;
    case "treat": return treatment.plan.length > 0 && treatment.plan.every(({ area }) => isFinished(area));
    default: return false;
  }
}

/** Goes to the step after this one; the service may have moved on meanwhile. */
export const goAfter = (step) => go(STEPS[STEPS.indexOf(step) + 1]);

/** The way, with what is done marked by a word and a sign. */
export function Steps() {
  const { snapshot, stale } = page;
  const runs = Boolean(snapshot.running);
  const { me } = snapshot;
  return html`<nav class=${runs ? "runs" : ""} aria-label=${t("page.steps")} inert=${stale}><ol>
    ${STEPS.map((step) => html`<li key=${step}>
      <button type="button" aria-current=${step === page.shown ? "step" : null} disabled=${runs || !mayOpen(step, snapshot)}
        onClick=${() => go(step)}>${isDone(step, snapshot) && html`<span class="done"><span aria-hidden="true">✓ </span><span class="unseen">${t("page.done")} </span></span>`}
        ${t(`page.step.${step}`)}</button></li>`)}
  </ol>
    <p class="who">${me.account}, ${t(`page.role.${me.role}`)}
      <button type="button" class="plain" onClick=${() => go("settings")}>${t("page.settings.title")}</button>
      <button type="button" class="plain" disabled=${runs} onClick=${() => ask("/api/logout")}>${t("page.log_out")}</button></p></nav>`;
}
