// Picking the pen, and what was left unfinished with it.

import { ask, change, html, page } from "./page.js";
import { Heading, mayTreat } from "./parts.js";
import { goAfter } from "./steps.js";
import { figure, t } from "./texts.js";

/** Looks for pens, picks one, and takes up what a killed program left. */
export function PenScreen() {
  const { pen, found, scanning, treatment, unended } = page.snapshot;
  if (pen) return html`<${Heading}>${t("page.pen.picked", { serial: pen.serial })}</${Heading}>
    <dl class="facts"><div><dt>${t("page.pen.model")}</dt><dd>${pen.model}</dd></div>
      <div><dt>${t("page.pen.firmware")}</dt><dd>${pen.firmware}</dd></div></dl>
    ${unended && html`<${Left} session=${unended} />`}
    <p class="actions">
      ${treatment === null && html`<button type="button" onClick=${release}>${t("page.pen.release")}</button>`}
      ${!unended && html`<button type="button" class="main" onClick=${() => goAfter("pen")}>${t(treatment ? "page.continue" : "page.pen.new")}</button>`}</p>`;
  return html`<${Heading}>${t("page.pen.title")}</${Heading}>
    <p>${t("page.pen.intro")}</p>
    <p class="actions"><button type="button" class="main" disabled=${scanning || !mayTreat()} onClick=${() => ask("/api/scan")}>
      ${t(scanning ? "page.pen.scanning" : "page.pen.scan")}</button></p>
    <ul class="cards" aria-label=${t("page.pen.found")}>${found.map((place) => html`<${Place} key=${place.url} place=${place} />`)}</ul>`;
}

function Place({ place: { url, name, serial, model, kind, battery_pct, trouble, is_place: isPlace } }) {
  if (!isPlace || trouble) return html`<li class="quiet">${isPlace && url} <small>${trouble}</small></li>`;
  const facts = [model, t(`page.kind.${kind}`), battery_pct !== null && t("page.battery", { percent: figure(battery_pct) })];
  return html`<li><button type="button" disabled=${page.busy !== "" || !mayTreat()} onClick=${() => ask("/api/pen", { url })}>
    <strong>${serial ?? (name || url)}</strong><small>${facts.filter(Boolean).join(" · ")}</small></button></li>`;
}

/** A treatment with this pen that was never ended: it is taken up, stopped, before anything else. */
function Left({ session }) {
  return html`<section class="left"><h3>${t("page.left.title")}</h3><p>${t("page.left.intro", { session })}</p>
    <p class="actions"><button type="button" class="main" disabled=${!mayTreat()} onClick=${() => takeUp(session)}>${t("page.left.resume")}</button></p></section>`;
}

async function takeUp(session) {
  if ((await ask("/api/treatments/resume", { session })) !== null) change({ step: null });
}

async function release() {
  if ((await ask("/api/pen/release")) !== null) change({ step: null });
}
