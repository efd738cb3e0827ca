// How the skin answered, noted for each area.

import { areaLabel, ask, html, learn, page } from "./page.js";
import { Choice, Field, Form, mayTreat } from "./parts.js";
import { t } from "./texts.js";

/** What was noted of an area, the newest last; what was taken back is left out. */
export function notesOf(area) {
  const corrected = new Set(page.answers.filter(({ kind }) => kind === "correction").map(({ body }) => body.of_seq));
  const holds = ({ seq, kind, body }) => kind === "note" && body.area === area && !corrected.has(seq);
  return page.answers.filter(holds).map(({ body }) => body);
}

/** Endpoint and reactions of one area; `open` until it is noted. */
export function NoteForm({ area, open }) {
  const noted = notesOf(area).at(-1);
  return html`<details class="note" open=${open && !noted} inert=${!mayTreat()}><summary>${t("page.note.title", { area: areaLabel(area) })}
      ${noted && html` <strong>${t(`endpoint.${noted.endpoint}`)}</strong>`}</summary>
    <${Form} onDone=${(form) => send(area, form)} say=${t("page.note.do")}>
      <${Choice} legend=${t("page.note.endpoint")} name="endpoint" chosen=${noted?.endpoint}
        options=${(page.config.endpoints ?? []).map((endpoint) => [endpoint, t(`endpoint.${endpoint}`)])} />
      <${Field} label=${t("page.note.reactions")} hint=${t("page.note.reactions_hint")} name="reactions" maxlength="300" defaultValue=${noted?.reactions.join(", ")} wide />
    </${Form}></details>`;
}

async function send(area, form) {
  const reactions = form.get("reactions").split(",").map((each) => each.trim()).filter(Boolean);
  if ((await ask("/api/note", { area, endpoint: form.get("endpoint"), reactions })) !== null) learn();
}
