// What is always on top: the pen, how old each word is, its state; and what a person must know at once.

import { line } from "./link.js";
import { ask, change, html, page } from "./page.js";
import { shown } from "./parts.js";
import { ICONS, stateOf } from "./states.js";
import { DASH, clock, figure, t } from "./texts.js";

const OLD_S = 0.6;

/** The bar at the top. */
export function TopBar() {
  const { pen, service, telemetry } = page.snapshot;
  const screen_s = (performance.now() - line.heard_ms) / 1000;
  const pen_s = pen?.age_s === null || pen?.age_s === undefined ? null : pen.age_s + screen_s;
  const { look, word, why } = stateOf(page);
  return html`<header>
    <h1>${pen?.serial ?? t("page.title")}</h1>
    <p class="state" data-look=${look}><span class="icon" aria-hidden="true">${ICONS[look]}</span>${t(word)}
      ${why && html` <small>${t(why)}</small>`}</p>
    <ul class="chips">
      <${Chip} name="page.chip.service" age_s=${screen_s} />
      ${pen && html`<${Chip} name="page.chip.pen" age_s=${pen_s} />`}
      ${pen && html`<li>${t("page.battery", { percent: shown(pen.battery_pct) })}</li>`}
      ${telemetry && html`<li class=${telemetry.trouble ? "chip old" : "chip"}>${t(telemetry.trouble ? "page.telemetry.waits" : "page.telemetry.goes")}</li>`}
      <li>${t("page.lag", { ms: shown(service.worst_lag_ms) })}</li>
      <li>${clock()}</li>
    </ul>
  </header>`;
}

function Chip({ name, age_s }) {
  const old = age_s === null || age_s > OLD_S;
  return html`<li class=${old ? "chip old" : "chip"}>${t(name)} <strong>${age_s === null ? DASH : t("page.age", { age: figure(age_s, 1) })}</strong></li>`;
}

/** What a person must know at once, each as long as it is so. */
export function Banners() {
  const { stale, focused, snapshot } = page;
  return html`<div class="banners">
    ${stale && html`<p class="banner" role="alert"><strong>${t(line.letIn ? "page.lost" : "page.not_let_in")}</strong></p>`}
    ${!stale && snapshot.pen && !snapshot.pen.connected && html`<div class="banner" role="alert"><p><strong>${t("page.pen_lost")}</strong></p>
      <button type="button" onClick=${() => ask("/api/reconnect")}>${t("page.reconnect")}</button></div>`}
    ${!focused && html`<p class="banner"><button type="button" class="plain" onClick=${() => change({ focused: true })}>${t("page.no_focus")}</button></p>`}
  </div>`;
}
