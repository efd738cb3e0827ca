// What is done before needles are armed, and the cartridge. Nothing is ticked unless a person does.

import { ask, change, html, page } from "./page.js";
import { Field, Form, Heading, Reasons, mayTreat } from "./parts.js";
import { goAfter } from "./steps.js";
import { t, worded } from "./texts.js";

const NO_AGENT = "none";

/** The steps in the order of the work, done ones folded away, then the cartridge. */
export function ChecklistScreen() {
  const { config, snapshot } = page;
  const { missing, cautions = [], checked } = snapshot.treatment;
  const hangs = ({ unless_none: on }) => on !== null && checked[on]?.agent === NO_AGENT;
  const asked = config.checklist.filter((step) => !hangs(step));
  const isDone = ({ name }) => name in checked && !missing.some(({ key }) => key === `checklist.${name}`);
  return html`<${Heading}>${t("page.checklist.title")}</${Heading}>
    <${Reasons} reasons=${cautions.filter(({ key }) => key.startsWith("checklist"))} look="caution" />
    <div class="beside" inert=${!mayTreat()}>
      <section aria-label=${t("page.checklist.steps")}>
        <ol class="steps">${asked.filter((step) => !isDone(step)).map((step) => html`<${Step} key=${step.name} step=${step} />`)}</ol>
        ${asked.some(isDone) && html`<details class="passed"><summary>${t("page.checklist.passed", { count: asked.filter(isDone).length })}</summary>
          <ul>${asked.filter(isDone).map((step) => html`<li key=${step.name}>✓ ${worded("checklist", step)} <strong>${used(checked[step.name])}</strong></li>`)}</ul></details>`}
      </section>
      <${Cartridge} />
    </div>
    <p class="actions"><button type="button" class="main" onClick=${() => goAfter("checklist")}>${t("page.continue")}</button></p>`;
}

/** What was used, in words. */
export function used(value) {
  if (!value?.agent) return "";
  const agent = value.agent === NO_AGENT ? t("page.checklist.without") : value.agent;
  return value.minutes ? t("page.checklist.used", { agent, minutes: value.minutes }) : agent;
}

function Step({ step }) {
  const { name, agent, minutes, source } = step;
  const send = (value) => ask("/api/checked", { step: name, value });
  const words = html`<p>${worded("checklist", step)} <small>${t("page.source", { source })}</small></p>`;
  if (!agent) return html`<li>${words}<p class="actions"><button type="button" class="main" onClick=${() => send(null)}>${t("page.checklist.do")}</button></p></li>`;
  return html`<li>${words}
    <${Form} onDone=${(form) => send(agentOf(form))} say=${t("page.checklist.do")}><${AgentFields} minutes=${minutes} />
      <button type="button" onClick=${() => send({ agent: NO_AGENT })}>${t("page.checklist.none")}</button>
    </${Form}></li>`;
}

/** The fields of what was used, and how long where that is asked; read them by `agentOf`. */
export function AgentFields({ minutes, given = {} }) {
  return html`<${Field} label=${t("page.checklist.agent")} name="agent" required maxlength="80" defaultValue=${given.agent} />
    ${minutes && html`<${Field} label=${t("page.checklist.minutes")} hint=${t("page.checklist.usual", minutes)} name="minutes" type="number" min="1" max="240" required defaultValue=${given.minutes} />`}`;
}

export function agentOf(form) {
  const minutes = form.get("minutes");
  return { agent: form.get("agent"), ...(minutes && { minutes: Number(minutes) }) };
}

/** The cartridge's label, scanned wherever the focus is, or typed. */
function Cartridge() {
  const { treatment } = page.snapshot;
  const { cartridge } = treatment;
  const { label } = page;
  const wrong = treatment.missing.filter(({ key }) => key === "cartridge");
  return html`<section class="cartridge"><h3>${t("page.cartridge.title")}</h3>
    ${cartridge && html`<dl class="facts">${["lot", "expiry", "needles", "udi"].map((key) => html`<div key=${key}>
      <dt>${t(`page.cartridge.${key}`)}</dt><dd>${cartridge[key] ?? t("page.cartridge.not_said")}</dd></div>`)}</dl>`}
    <${Reasons} reasons=${wrong} look="missing" />
    <${Reasons} reasons=${(treatment.cautions ?? []).filter(({ key }) => key === "cartridge")} look="caution" />
    <p role="status">${t(label ? "page.cartridge.scanned" : "page.cartridge.scan")}</p>
    <details open=${!cartridge || label !== null}><summary>${t("page.cartridge.type")}</summary>
      <${Form} onDone=${enter} say=${t("page.cartridge.do")} key=${label?.udi}><${LabelFields} given=${label ?? {}} /></${Form}></details></section>`;
}

/** The fields of a cartridge's label; read them by `labelOf`. */
export function LabelFields({ given }) {
  return html`<${Field} label=${t("page.cartridge.lot")} name="lot" maxlength="40" defaultValue=${given.lot} />
    <${Field} label=${t("page.cartridge.expiry")} name="expiry" type="date" defaultValue=${given.expiry} />
    <${Field} label=${t("page.cartridge.needles")} name="needles" type="number" min="1" max="1000" required defaultValue=${given.needles} />
    <${Field} label=${t("page.cartridge.udi")} hint=${t("page.cartridge.udi_hint")} name="udi" maxlength="200" defaultValue=${given.udi} wide />`;
}

export function labelOf(form) {
  const given = (name) => form.get(name) || null;
  return { lot: given("lot"), expiry: given("expiry"), needles: Number(form.get("needles")), udi: given("udi") };
}

async function enter(form) {
  if ((await ask("/api/cartridge", labelOf(form))) !== null) change({ label: null });
}
