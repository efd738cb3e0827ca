// A figure that is measured: large, and on a scale with what is set, where a warning is given, and where the limit is.

import { html } from "./page.js";
import { shown } from "./parts.js";
import { figure, t } from "./texts.js";

const BEYOND = 1.1; // a scale ends a little beyond its limit, so that the limit is seen

/** One gauge. `value`, `set`, `warn` and `most` are in the gauge's unit; null or missing is not known. */
export function Gauge({ name, value, set, warn, most, digits }) {
  const end = most ? most * BEYOND : 1;
  const said = shown(value, digits);
  const known = said === figure(value, digits) && typeof value === "number";
  const look = known && most && value > most ? "over" : known && warn && value > warn ? "warn" : "fine";
  return html`<div class="gauge" data-look=${look} role="img"
    aria-label=${t("page.gauge.said", { name: t(`page.gauge.${name}`), value: said, unit: t(`page.unit.${name}`), most: figure(most, digits) })}>
    <p class="label">${t(`page.gauge.${name}`)}</p>
    <p class="value"><strong>${said}</strong> ${t(`page.unit.${name}`)}</p>
    <div class="scale">
      ${known && html`<i class="bar" style=${{ width: place(value, end) }}></i>`}
      ${typeof set === "number" && html`<i class="tick set" style=${{ left: place(set, end) }}></i>`}
      ${typeof warn === "number" && html`<i class="tick warn" style=${{ left: place(warn, end) }}></i>`}
      ${typeof most === "number" && html`<i class="tick most" style=${{ left: place(most, end) }}></i>`}
    </div>
    <p class="ends">${typeof set === "number" && html`<span>${t("page.gauge.set", { value: figure(set, digits) })}</span>`}
      ${typeof most === "number" && html`<span>${t("page.gauge.most", { value: figure(most, digits) })}</span>`}</p>
  </div>`;
}

function place(value, end) {
  return `${Math.max(0, Math.min(100, (value / end) * 100))}%`;
}
