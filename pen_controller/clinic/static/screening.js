// What stands against a treatment: each question is answered, and a yes has its consequence.

import { ask, html, page } from "./page.js";
import { Choice, Field, Form, Heading, mayTreat } from "./parts.js";
import { goAfter } from "./steps.js";
import { t, worded } from "./texts.js";

/** The questions, contraindications first; each answer is recorded as it is given. */
export function ScreeningScreen() {
  const { config, snapshot } = page;
  const open = snapshot.treatment.missing.filter(({ key }) => key.startsWith("screening.")).length;
  return html`<${Heading}>${t("page.screening.title")}</${Heading}>
    <p role="status">${t(open === 0 ? "page.screening.complete" : "page.screening.open", { count: open })}</p>
    ${["contraindication", "precaution"].map((kind) => html`<section key=${kind}><h3>${t(`screening_kind.${kind}`)}</h3>
      <div class="questions">${config.screening.filter((question) => question.kind === kind).map((question) => html`<${Question} key=${question.name} question=${question} />`)}</div>
    </section>`)}
    <p class="actions"><button type="button" class="main" onClick=${() => goAfter("screening")}>${t("page.continue")}</button></p>`;
}

function Question({ question }) {
  const { name, kind, source } = question;
  const given = page.snapshot.treatment.screening[name];
  const yes = given?.answer === "yes";
  const look = !given ? "open" : !yes ? "done" : given.override ? "overridden" : "blocked";
  return html`<article class="question" data-look=${look} inert=${!mayTreat()}>
    <${Choice} legend=${html`${worded("screening", question)} <small>${t("page.source", { source })}</small>`} name=${name} chosen=${given?.answer}
      options=${[["no", t("report.no")], ["yes", t("report.yes")]]}
      onChange=${(answer) => ask("/api/screening", { question: name, answer, override: null })} />
    ${yes && kind === "contraindication" && html`<p class="blocked">${t("page.screening.blocks")}</p>`}
    ${yes && kind === "precaution" && (given.override
      ? html`<p>${t("page.screening.overridden", given.override)}</p>`
      : html`<${Form} onDone=${(form) => override(name, form)} say=${t("page.screening.override")}>
          <${Field} label=${t("page.screening.reason")} name="reason" required maxlength="300" wide /></${Form}>`)}
  </article>`;
}

function override(question, form) {
  return ask("/api/screening", { question, answer: "yes", override: { reason: form.get("reason") } });
}
