// Whose treatment it is, without a name.

import { areaLabel, ask, html, page } from "./page.js";
import { Choice, Field, Form, Heading, Reasons, Several, mayTreat } from "./parts.js";
import { goAfter } from "./steps.js";
import { t } from "./texts.js";

/** The case: code, age band, skin type, indications, concerns, and when the previous treatment was. */
export function CaseScreen() {
  const { treatment } = page.snapshot;
  const cautions = (treatment?.cautions ?? []).filter(({ key }) => key === "case");
  return html`<${Heading}>${t("page.case.title")}</${Heading}>
    <${Reasons} reasons=${cautions} look="caution" />
    <${Form} onDone=${send} say=${t("page.case.do")} inert=${!mayTreat()}><${CaseFields} given=${treatment?.case ?? {}} /></${Form}>`;
}

/** The fields of a case; read them by `caseOf`. */
export function CaseFields({ given }) {
  const { config } = page;
  return html`<div class="columns">
      <${Field} label=${t("page.case.code")} hint=${t("page.case.code_hint")} name="code" required minlength="3" maxlength="20" defaultValue=${given.code} />
      <${Field} label=${t("page.case.previous")} hint=${t("page.case.previous_hint")} name="previous" type="date" defaultValue=${given.previous_treatment} />
    </div>
    <${Several} legend=${t("page.case.never_legend")} name="never" options=${[["yes", t("page.case.never")]]}
      chosen=${given.code && !given.previous_treatment ? ["yes"] : []} />
    <${Choice} legend=${t("page.case.age_band")} name="age_band" chosen=${given.age_band}
      options=${config.age_bands.map((band) => [band, t(`age_band.${band}`)])} />
    <${Choice} legend=${t("page.case.fitzpatrick")} name="fitzpatrick" chosen=${given.fitzpatrick}
      options=${config.skin.map(({ name }) => [Number(name), t(`page.skin.${name}`)])} />
    <${Several} legend=${t("page.case.indications")} name="indications" chosen=${given.indications}
      options=${config.indications.map(({ name }) => [name, t(`indication.${name}`)])} />
    <${Several} legend=${t("page.case.concerns")} name="concerns" chosen=${given.concerns}
      options=${config.areas.map(({ name }) => [name, areaLabel(name)])} />`;
}

/** What was entered; null, and said beside the field, if the previous treatment is neither dated nor denied. */
export function caseOf(form, element) {
  const never = form.get("never") === "yes";
  const date = element.elements.previous;
  date.setCustomValidity(never === (date.value === "") ? "" : t("page.case.previous_or_never"));
  element.addEventListener("input", () => date.setCustomValidity(""), { once: true });
  if (!element.reportValidity()) return null;
  return {
    code: form.get("code"),
    age_band: form.get("age_band"),
    fitzpatrick: Number(form.get("fitzpatrick")),
    indications: form.getAll("indications"),
    concerns: form.getAll("concerns"),
    previous_treatment: never ? null : form.get("previous"),
  };
}

async function send(form, element) {
  const body = caseOf(form, element);
  if (body !== null && (await ask("/api/case", body)) !== null) goAfter("case");
}
