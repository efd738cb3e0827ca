// What persons have entered: every entry stays as it was written, and is corrected by one that is added.

import { CaseFields, caseOf } from "./case.js";
import { AgentFields, LabelFields, agentOf, labelOf, used } from "./checklist.js";
import { NoteFields, noteOf } from "./notes.js";
import { areaLabel, ask, change, entries, html, learn, page } from "./page.js";
import { Choice, Field, Form, Several, mayTreat } from "./parts.js";
import { t, worded } from "./texts.js";

const MOST_REASON = 300;

/** Of each kind that can hold otherwise: its fields, and what reads them. Any other can only be taken back. */
const FORMS = {
  case: [CaseFields, caseOf],
  screening: [AnswerFields, (form) => ({ answer: form.get("answer"), override: overrideOf(form) })],
  checked: [UsedFields, (form) => ({ value: form.has("agent") ? agentOf(form) : null })],
  cartridge: [LabelFields, labelOf],
  note: [NoteFields, noteOf],
};

/** Each kind in words, from the body of its record. */
const LINES = {
  case: ({ code, age_band, fitzpatrick, indications, concerns, previous_treatment }) => [
    code, t(`age_band.${age_band}`), t(`page.skin.${fitzpatrick}`), ...indications.map((name) => t(`indication.${name}`)),
    ...concerns.map(areaLabel), previous_treatment ?? t("page.case.never"),
  ].join(" · "),
  screening: ({ question, answer, override }) => [
    named("screening", question), t(`report.${answer}`), override && t("page.screening.overridden", override),
  ].filter(Boolean).join(" "),
  checked: ({ step, value }) => [named("checklist", step), used(value)].filter(Boolean).join(": "),
  cartridge: (label) => ["lot", "expiry", "needles", "udi"].filter((key) => label[key])
    .map((key) => `${t(`page.cartridge.${key}`)} ${label[key]}`).join(" · "),
  note: ({ area, endpoint, reactions, by }) => t("report.event.note", {
    area: areaLabel(area), endpoint: t(`endpoint.${endpoint}`), reactions: reactions.join(", ") || undefined, by,
  }),
  aftercare: (body) => t("report.event.aftercare", body),
  override: (body) => t("report.event.override", body),
};

const named = (table, name) => worded(table, page.config[table].find((entry) => entry.name === name) ?? { name });

/** All entries of the treatment, each with its corrections below it. */
export function Entries() {
  const { treatment } = page.snapshot;
  return html`<details><summary>${t("page.record.title")}</summary><p>${t(treatment ? "page.record.intro" : "page.record.ended")}</p>
    <ol class="entries">${entries().map((entry) => html`<${Entry} key=${entry.seq} entry=${entry} open=${treatment !== null && mayTreat()} />`)}</ol></details>`;
}

function Entry({ entry, open }) {
  const { seq, kind, body, wall, corrections } = entry;
  const [place, what] = [t("page.record.number", { seq }), LINES[kind](body)];
  return html`<li><div><small>${place} · ${time(wall)}</small> ${corrections.length ? html`<s>${what}</s>` : what}
    ${corrections.map((later) => html`<p class="later" key=${later.seq}>${t("report.corrected", { when: time(later.wall), ...later.body,
      holds: later.body.body ? LINES[kind](later.body.body) : t("report.taken_back") })}</p>`)}</div>
    ${open && page.correcting !== seq && html`<button type="button" class="plain" aria-label=${`${t("page.record.correct")}: ${place}, ${what}`}
      onClick=${() => change({ correcting: seq })}>${t("page.record.correct")}</button>`}
    ${open && page.correcting === seq && html`<${Correct} entry=${entry} />`}</li>`;
}

function Correct({ entry }) {
  const [Fields] = FORMS[entry.kind] ?? [];
  return html`<${Form} class="correct" onDone=${(form, element) => send(entry, form, element)} say=${t("page.record.do")}>
    ${Fields && html`<${Fields} given=${entry.holds ?? entry.body} />`}
    ${Fields && html`<${Several} legend=${t("page.record.or")} name="back" options=${[["yes", t("page.record.back")]]} />`}
    <${Field} label=${t("page.record.reason")} name="reason" required maxlength=${MOST_REASON} wide />
    <button type="button" onClick=${() => change({ correcting: null })}>${t("page.record.leave")}</button></${Form}>`;
}

async function send({ seq, kind, body, holds }, form, element) {
  const [, read] = FORMS[kind] ?? [];
  const isBack = !read || form.get("back") === "yes";
  const now = isBack ? null : read(form, element);
  if (!isBack && now === null) return;
  const said = await ask("/api/correction", { of_seq: seq, reason: form.get("reason"), body: now && { ...(holds ?? body), ...now } });
  if (said === null) return;
  change({ correcting: null });
  learn();
}

function AnswerFields({ given: { answer, override } }) {
  return html`<${Choice} legend=${t("page.record.answer")} name="answer" chosen=${answer} options=${["no", "yes"].map((said) => [said, t(`report.${said}`)])} />
    <${Field} label=${t("page.screening.reason")} name="override" maxlength=${MOST_REASON} defaultValue=${override?.reason} wide />`;
}

/** Who lets it pass is who corrects; the service says so. */
function overrideOf(form) {
  return form.get("answer") === "yes" && form.get("override") ? { by: page.snapshot.me.account, reason: form.get("override") } : null;
}

function UsedFields({ given: { step, value } }) {
  const { agent, minutes } = page.config.checklist.find(({ name }) => name === step) ?? {};
  return agent && html`<${AgentFields} minutes=${minutes} given=${value ?? {}} />`;
}

const time = (wall) => new Date(wall).toLocaleTimeString(document.documentElement.lang, { hourCycle: "h23" });
