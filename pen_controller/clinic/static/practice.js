// With a simulated pen: what can happen to a pen, at the press of a button.

import { ask, html } from "./page.js";
import { t } from "./texts.js";

const HAPPENINGS = ["cartridge", "unplug", "button", "reboot"];

/** Buttons for those who practise; no real pen has them. */
export function Practice() {
  return html`<aside class="practice" aria-label=${t("page.practice.title")}><p>${t("page.practice.title")}</p>
    ${HAPPENINGS.map((happens) => html`<button type="button" key=${happens} onClick=${() => ask("/api/practice", { happens })}>${t(`page.practice.${happens}`)}</button>`)}
  </aside>`;
}
