// How the skin answered, noted for each area.

import { areaLabel, ask, entries, html, learn, page } from "./page.js";
import { Choice, Field, Form, mayTreat } from "./parts.js";
import { t } from "./texts.js";

/** What holds of what was noted of an area, the newest last. */
export function notesOf(area) {
  return entries().filter(({ kind, holds }) => kind === "note" && holds?.area === area).map(({ holds }) => holds);
}

/** Endpoint and reactions of one area; `open` until it is noted. */
export function NoteForm({ area, open }) {
  const noted = notesOf(area).at(-1);
  return html`<details class="note" open=${open && !noted} inert=${!mayTreat()}><summary>${t("page.note.title", { area: areaLabel(area) })}
      ${noted && html` <strong>${t(`endpoint.${noted.endpoint}`)}</strong>`}</summary>
    <${Form} onDone=${(form) => send(area, form)} say=${t("page.note.do")}>
      <${NoteFields} given=${noted ?? {}} />
    </${Form}></details>`;
}

/** The fields of a note; read them by `noteOf`. */
export function NoteFields({ given }) {
  return html`<${Choice} legend=${t("page.note.endpoint")} name="endpoint" chosen=${given.endpoint}
      options=${page.config.endpoints.map((endpoint) => [endpoint, t(`endpoint.${endpoint}`)])} />
    <${Field} label=${t("page.note.reactions")} hint=${t("page.note.reactions_hint")} name="reactions" maxlength="300" defaultValue=${given.reactions?.join(", ")} wide />`;
}

export function noteOf(form) {
  return { endpoint: form.get("endpoint"), reactions: form.get("reactions").split(",").map((each) => each.trim()).filter(Boolean) };
}

async function send(area, form) {
  if ((await ask("/api/note", { area, ...noteOf(form) })) !== null) learn();
}
