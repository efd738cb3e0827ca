// The end: notes that are missing, the aftercare sheet, closing the treatment, and its report.

import { NoteForm, notesOf } from "./notes.js";
import { ask, entries, go, html, learn, page } from "./page.js";
import { Heading, mayTreat } from "./parts.js";
import { Entries } from "./record.js";
import { t, worded } from "./texts.js";

/** What is left to do, in the order of the work. */
export function ReportScreen() {
  const { treatment, areas, ended, jobs, telemetry } = page.snapshot;
  const session = treatment?.session ?? ended;
  const unnoted = areas.filter(({ area }) => notesOf(area).length === 0);
  const isGiven = entries().some(({ kind, holds }) => kind === "aftercare" && holds?.given);
  return html`<${Heading}>${t("page.report.title")}</${Heading}>
    <ol class="steps">
      <li inert=${!mayTreat()}><h3>${t("page.report.notes")}</h3>
        ${unnoted.length > 0 && !ended ? unnoted.map(({ area }) => html`<${NoteForm} area=${area} key=${area} open />`) : html`<p>✓ ${t("page.report.noted")}</p>`}</li>
      <li inert=${!mayTreat()}><h3>${t("page.report.aftercare")}</h3>
        ${isGiven ? html`<p>✓ ${t("page.report.aftercare_given")}</p>` : html`<p>${t("page.report.aftercare_intro")}</p>
          <${Sheet} />
          <p class="actions"><button type="button" onClick=${() => window.print()}>${t("page.report.aftercare_print")}</button>
          <button type="button" disabled=${Boolean(ended)} onClick=${hand}>${t("page.report.aftercare_do")}</button></p>`}</li>
      <li inert=${!mayTreat()}><h3>${t("page.report.end")}</h3>
        ${telemetry?.trouble && html`<p>${t("page.telemetry.why", telemetry)}</p>`}
        ${ended ? html`<p>✓ ${t("page.report.ended")}</p>` : html`<p>${t("page.report.end_intro")}</p>
          <p class="actions"><button type="button" class="main" disabled=${page.busy !== ""} onClick=${() => ask("/api/end")}>${t("page.report.end_do")}</button></p>`}</li>
      <li><h3>${t("page.report.report")}</h3>
        <p class="actions"><button type="button" class=${ended ? "main" : ""} onClick=${() => ask("/api/report", { session, language: document.documentElement.lang })}>${t("page.report.make")}</button></p>
        <div role="status"><ul>${jobs.filter((job) => job.session === session).map((job) => html`<${Job} key=${job.id} job=${job} />`)}</ul></div></li>
    </ol>
    <${Entries} />
    ${ended && html`<p class="actions"><button type="button" onClick=${() => go("pen")}>${t("page.report.next")}</button></p>`}`;
}

/** The aftercare sheet; it is what is printed of this page. */
function Sheet() {
  return html`<article class="sheet"><h3>${t("aftercare_sheet.title")}</h3><p>${t("aftercare_sheet.intro")}</p>
    <ul>${page.config.aftercare.map((line) => html`<li key=${line.name}>${worded("aftercare", line)}</li>`)}</ul>
    <p>${t("aftercare_sheet.contact")} ____________________</p><p><small>${t("aftercare_sheet.not_advice")}</small></p></article>`;
}

async function hand() {
  if ((await ask("/api/aftercare")) !== null) learn();
}

function Job({ job: { error, url } }) {
  if (error) return html`<li class="blocked">${t("page.report.failed", { error })}</li>`;
  if (!url) return html`<li>${t("page.report.making")} <progress aria-label=${t("page.report.making")}></progress></li>`;
  return html`<li class="actions">✓ <a href=${url} target="_blank" rel="noopener">${t("page.report.html")}</a>
    <a href=${url.replace(/\.html$/, ".pdf")} target="_blank" rel="noopener">${t("page.report.pdf")}</a></li>`;
}
