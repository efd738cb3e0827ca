// The screen while treating: where, how deep, how fast, how often; and one line of advice.

import { FaceMap } from "./face.js";
import { Gauge } from "./gauges.js";
import { holdToResume, letGo } from "./keys.js";
import { NoteForm } from "./notes.js";
import { areaLabel, areaOf, change, html, page } from "./page.js";
import { Heading, Reasons, mayTreat, shown } from "./parts.js";
import { goAfter } from "./steps.js";
import { figure, t } from "./texts.js";
import { choose, currentArea, ends, finishArea, isFinished, keep, startArea, wantedFor } from "./treating.js";

const MOST_KEYS = 8;
const MOST_REASONS = 3;

/** Three columns: where, what, how far; below 900 px one under the other. */
export function TreatScreen() {
  const { treatment, areas, running } = page.snapshot;
  const area = currentArea();
  return html`<div class="treat">
    <section class="where" aria-label=${t("page.treat.where")}>
      <${FaceMap} areas=${areas} chosen=${area} names=${treatment.plan.map((each) => each.area)} onPick=${pick} />
      <${Areas} chosen=${area} />
    </section>
    <section class="what" aria-label=${t("page.treat.what")}>
      <${Heading}>${area ? areaLabel(area) : t("page.treat.title")}</${Heading}>
      ${area ? html`<${Gauges} area=${area} /><${Commands} area=${area} /><${Controls} area=${area} />` : html`<p>${t("page.treat.no_plan")}</p>`}
    </section>
    <section class="how" aria-label=${t("page.treat.how")}>
      <${Advice} />
      <${Given} chosen=${area} />
      ${area && !running && areas.some((given) => given.area === area) && html`<${NoteForm} area=${area} key=${area} open=${isFinished(area)} />`}
      <p class="actions"><button type="button" disabled=${Boolean(running)} onClick=${() => goAfter("treat")}>${t("page.treat.to_report")}</button></p>
    </section>
  </div>`;
}

function pick(area) {
  if (!page.snapshot.running) change({ area });
}

function Areas({ chosen }) {
  const { treatment, running } = page.snapshot;
  return html`<ol class="areas">${treatment.plan.map(({ area }, place) => html`<li key=${area}>
    <button type="button" aria-pressed=${area === chosen} disabled=${Boolean(running)} onClick=${() => pick(area)}>
      ${place < MOST_KEYS && html`<kbd>${place + 1}</kbd> `}${areaLabel(area)}</button></li>`)}</ol>`;
}

function Gauges({ area }) {
  const { running, areas } = page.snapshot;
  const own = areaOf(area) ?? {};
  const given = areas.find((each) => each.area === area);
  const wanted = wantedFor(area);
  const most = { ...wanted.limits, ...given?.limits };
  return html`<div class="gauges">
    <${Gauge} name="depth" digits=${2} value=${scaled(running?.depth_um, 1000)} set=${wanted.depth_mm} warn=${own.depth_mm?.warn} most=${most.depth?.value} />
    <${Gauge} name="rate" digits=${0} value=${scaled(running?.rate_dhz, 10)} set=${wanted.rate_hz} most=${most.rate?.value} />
    <${Gauge} name="force" digits=${1} value=${scaled(running?.force_mn, 1000)} warn=${own.force_n?.warn} most=${most.force?.value} />
    <${Gauge} name="density" digits=${0} value=${given?.density_per_cm2} warn=${own.density_per_cm2?.warn} most=${most.density?.value} />
  </div>`;
}

const scaled = (value, by) => (typeof value === "number" ? value / by : null);

function Controls({ area }) {
  return html`<div class="controls" inert=${!mayTreat()}>
    <${Control} area=${area} name="depth_mm" digits=${2} />
    <${Control} area=${area} name="rate_hz" digits=${0} />
  </div>`;
}

/** A slider that ends at the limit; the service judges again. */
function Control({ area, name, digits }) {
  const { least, most, step, source } = ends(area, name);
  const value = wantedFor(area)[name];
  const label = t(`page.plan.${name}`);
  return html`<label class="control"><span>${label} <strong>${figure(value, digits)}</strong></span>
    <input type="range" aria-label=${label} min=${least} max=${most} step=${step} value=${value} aria-valuetext=${`${figure(value, digits)} ${label}`}
      onInput=${(event) => choose(area, { [name]: Number(event.currentTarget.value) })} onChange=${() => keep(area)} />
    <small>${t("page.treat.control", { least: figure(least, digits), most: figure(most, digits), source })}</small></label>`;
}

/** What can be done now, and only that: start, end the area, or resume after a stop. */
function Commands({ area }) {
  const { treatment, pen, areas, running } = page.snapshot;
  if (!mayTreat()) return html`<p>${t("page.treat.looks_on")}</p>`;
  if (running || pen?.may_run) return html`<p class="actions"><button type="button" onClick=${finishArea}>${t("page.treat.finish")}</button></p>`;
  if (pen?.latch || treatment.interrupted) return html`<${Resume} />`;
  if (treatment.missing.length > 0) return html`<div><p><strong>${t("page.treat.missing")}</strong></p>
    <${Reasons} reasons=${treatment.missing.slice(0, MOST_REASONS)} look="missing" />
    ${treatment.missing.length > MOST_REASONS && html`<p>${t("page.treat.more", { count: treatment.missing.length - MOST_REASONS })}</p>`}</div>`;
  const given = areas.find((each) => each.area === area);
  const { passes } = wantedFor(area);
  if (given?.closed) return html`<p class="blocked">${t("page.treat.closed", { area: areaLabel(area) })}</p>`;
  if (given && given.passes >= passes) return html`<p class="actions">✓ ${t("page.treat.area_done", { area: areaLabel(area) })}
    <button type="button" onClick=${() => choose(area, { passes: given.passes + 1 })}>${t("page.treat.another")}</button></p>`;
  const { hold_key: key } = page.snapshot.me.settings;
  return html`<p class="actions"><button type="button" class="main start" disabled=${page.busy !== ""} onClick=${() => startArea()}>
    ${t("page.treat.start", { area: areaLabel(area) })}</button>${key && html`<small>${t("page.treat.held", { key })}</small>`}</p>`;
}

/** Resumption takes a second of holding, so that nobody does it by a touch. */
function Resume() {
  const { pen, treatment } = page.snapshot;
  const why = pen?.latch ? t(`report.cause.${pen.latch.cause}`) : treatment.interrupted;
  const hold = (event) => ["Enter", "Space"].includes(event.code) && !event.repeat && (event.preventDefault(), holdToResume());
  return html`<div class="resume"><p><strong>${t("page.treat.stopped", { why })}</strong></p>
    <button type="button" class="main" disabled=${!pen?.connected} onPointerDown=${holdToResume} onPointerUp=${letGo} onPointerLeave=${letGo} onPointerCancel=${letGo}
      onKeyDown=${hold} onKeyUp=${letGo} onBlur=${letGo}>
      <i class="bar" style=${{ width: `${page.held_ms / 10}%` }}></i><span>${t("page.treat.resume")}</span></button></div>`;
}

/** One line of coaching; silent as long as all is well. */
function Advice() {
  const { running } = page.snapshot;
  const text = running?.alert && !page.stale ? t(`page.advice.${running.alert}`) : "";
  return html`<p class="advice" role="status" data-severity=${running?.severity ?? "none"}>${text}</p>`;
}

function Given({ chosen }) {
  const { treatment: { plan }, areas, running } = page.snapshot;
  const names = [...new Set([...plan, ...areas].map(({ area }) => area))];
  return html`<table class="given"><caption>${t("page.treat.given")}</caption>
    <thead><tr><th scope="col">${t("page.plan.area")}</th><th scope="col">${t("page.plan.passes")}</th><th scope="col">${t("page.unit.density")}</th></tr></thead>
    <tbody>${names.map((name) => {
      const given = areas.find(({ area }) => area === name);
      const wanted = plan.find(({ area }) => area === name);
      return html`<tr key=${name} class=${name === chosen ? "active" : ""}><th scope="row">${areaLabel(name)}${given?.closed && html` <small>${t("page.treat.is_closed")}</small>`}</th>
        <td>${t("page.treat.of", { done: given ? shown(given.passes) : figure(0), wanted: figure(wanted?.passes) })}</td><td>${given ? shown(given.density_per_cm2) : ""}</td></tr>`;
    })}</tbody></table>
    ${running && html`<p>${t("page.treat.coverage", { percent: shown(coverageOf(running), 0) })}</p>`}`;
}

/** Of the pass under way, in per cent: the least that is sure. */
function coverageOf({ coverage }) {
  const low = Array.isArray(coverage) ? coverage[0] : coverage?.low ?? coverage;
  return typeof low === "number" ? low * 100 : null;
}
