// The plan: areas with depth, rate and passes, offered inside the limits, changed by a person, kept as templates.

import { areaLabel, areaOf, ask, change, fetched, html, page } from "./page.js";
import { Field, Form, Heading, mayTreat } from "./parts.js";
import { goAfter } from "./steps.js";
import { figure, t } from "./texts.js";
import { LIMITS } from "./treating.js";

const FIGURES = { depth_mm: 2, rate_hz: 0, passes: 0, size_cm2: 1 }; // each with its digits

/** The plan as it is being edited; it binds nobody, and every area is judged again when it is started. */
export function PlanScreen() {
  const { snapshot, config } = page;
  const draft = page.draft ?? snapshot.treatment.plan;
  const others = config.areas.filter(({ name }) => !draft.some(({ area }) => area === name));
  return html`<${Heading}>${t("page.plan.title")}</${Heading}>
    <div class="actions" inert=${!mayTreat()}>
      <button type="button" class=${draft.length === 0 ? "main" : ""} onClick=${offer}>${t("page.plan.offer")}</button>
      <button type="button" onClick=${list}>${t("page.plan.templates")}</button>
    </div>
    <p role="status">${page.told}${page.plans?.length === 0 && t("page.plan.no_templates")}</p>
    ${page.plans?.length > 0 && html`<ul class="cards">${page.plans.map((name) => html`<li key=${name}>
      <button type="button" onClick=${() => load(name)}>${name}</button></li>`)}</ul>`}
    <${LeftOut} />
    <div inert=${!mayTreat()}>
      ${draft.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${t("page.plan.title")}><table class="plan">
        <thead><tr><th scope="col">${t("page.plan.area")}</th>${Object.keys(FIGURES).map((name) => html`<th scope="col" key=${name}>${t(`page.plan.${name}`)}</th>`)}<td></td></tr></thead>
        <tbody>${draft.map((area, place) => html`<${Row} key=${area.area} area=${area} place=${place} draft=${draft} />`)}</tbody></table></div>`}
      ${others.length > 0 && html`<form class="actions" onSubmit=${(event) => add(draft, event)}><label>${t("page.plan.add")} 
        <select name="area">${others.map(({ name }) => html`<option value=${name} key=${name}>${areaLabel(name)}</option>`)}</select></label>
        <button>${t("page.plan.add_do")}</button></form>`}
      <p class="actions"><button type="button" class="main" disabled=${draft.length === 0} onClick=${() => send(draft)}>${t("page.plan.do")}</button></p>
      ${draft.length > 0 && html`<details><summary>${t("page.plan.keep")}</summary>
        <${Form} onDone=${(form) => keep(form.get("name"))} say=${t("page.plan.save")}>
          <${Field} label=${t("page.plan.name")} hint=${t("page.plan.name_hint")} name="name" required pattern="[a-z0-9][a-z0-9_-]{0,39}" /></${Form}></details>`}
    </div>`;
}

function Row({ area, place, draft }) {
  const edit = (name, value) => change({ draft: draft.map((each, at) => (at === place ? { ...each, [name]: value } : each)) });
  return html`<tr><th scope="row">${areaLabel(area.area)}</th>
    ${Object.entries(FIGURES).map(([name, digits]) => {
      const most = area.limits?.[LIMITS[name]]?.value;
      return html`<td key=${name}><input type="number" aria-label=${`${areaLabel(area.area)}: ${t(`page.plan.${name}`)}`} step="any" min="0"
        value=${area[name]} onInput=${(event) => edit(name, event.currentTarget.value)} />
        ${most !== undefined && html`<small>${t("page.plan.most", { most: figure(most, digits) })}</small>`}</td>`;
    })}
    <td><button type="button" class="plain" aria-label=${t("page.plan.remove", { area: areaLabel(area.area) })}
      onClick=${() => change({ draft: draft.filter((_, at) => at !== place) })}>✕</button></td></tr>`;
}

/** Why an area that was wished for is not offered. */
function LeftOut() {
  const reasons = Object.entries(page.leftOut);
  if (reasons.length === 0) return null;
  return html`<ul class="reasons caution">${reasons.map(([area, reason]) => html`<li key=${area}>${areaLabel(area)}: ${reason}</li>`)}</ul>`;
}

async function offer() {
  const offered = await ask("/api/plan/offer");
  if (offered !== null) change({ draft: offered.areas, leftOut: offered.left_out });
}

async function list() {
  const said = await fetched("/api/plans");
  if (said !== null) change({ plans: said.plans });
}

async function load(name) {
  const said = await ask("/api/plans/load", { name });
  if (said !== null) change({ draft: said.areas, plans: null });
}

async function add(draft, event) {
  event.preventDefault();
  const own = areaOf(new FormData(event.currentTarget).get("area"));
  const typical = Object.fromEntries(Object.keys(FIGURES).map((figure) => [figure, own[figure].typical]));
  const said = await ask("/api/plan/limits", { areas: [{ area: own.name, ...typical }] });
  if (said !== null) change({ draft: [...draft, ...said.areas] });
}

/** The plan as the service takes it; while it is edited its figures are text. */
function plain(draft) {
  return draft.map(({ area, depth_mm, rate_hz, passes, size_cm2, indication = null }) =>
    ({ area, depth_mm: Number(depth_mm), rate_hz: Number(rate_hz), passes: Number(passes), size_cm2: Number(size_cm2), indication }));
}

async function send(draft) {
  if ((await ask("/api/plan", { areas: plain(draft) })) === null) return;
  change({ draft: null, leftOut: {}, wanted: {} });
  goAfter("plan");
}

async function keep(name) {
  if (page.draft !== null && (await ask("/api/plan", { areas: plain(page.draft) })) === null) return;
  if ((await ask("/api/plans", { name })) !== null) change({ told: t("page.plan.saved", { name }) });
}
