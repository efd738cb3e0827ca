// How an account likes its screen: language, look, and the keys of foot pedals; and the accounts.

import { Accounts } from "./accounts.js";
import { ask, change, html, page } from "./page.js";
import { Choice, Heading } from "./parts.js";
import { t } from "./texts.js";

const KEYS = ["stop_key", "hold_key"];
const TAKEN = new Set(["Escape", "Space", "KeyR", "Tab", "Enter"]);

/** The settings; each is kept as it is chosen. */
export function Settings() {
  const { settings } = page.snapshot.me;
  return html`<${Heading}>${t("page.settings.title")}</${Heading}>
    <div class="columns">
      <${Choice} legend=${t("page.settings.language")} name="language" chosen=${settings.language}
        options=${Object.entries(page.setup.languages)} onChange=${(language) => keep({ language })} />
      <${Choice} legend=${t("page.settings.theme")} name="theme" chosen=${settings.theme}
        options=${["system", "light", "dark"].map((theme) => [theme, t(`page.theme.${theme}`)])} onChange=${(theme) => keep({ theme })} />
    </div>
    <h3>${t("page.settings.keys")}</h3><p>${t("page.settings.keys_intro")}</p>
    ${KEYS.map((key) => html`<p class="actions" key=${key}><span>${t(`page.settings.${key}`)} <kbd>${settings[key] || t("page.settings.none")}</kbd></span>
      <button type="button" aria-pressed=${page.binding === key} onClick=${() => bind(key)}>${t(page.binding === key ? "page.settings.press" : "page.settings.choose")}</button>
      ${settings[key] && html`<button type="button" onClick=${() => keep({ [key]: "" })}>${t("page.settings.forget")}</button>`}</p>`)}
    <h3>${t("page.settings.accounts")}</h3><p role="status" class="told">${page.told}</p><${Accounts} />
    <p class="actions"><button type="button" class="main" onClick=${() => change({ step: null })}>${t("page.settings.back")}</button></p>`;
}

function keep(patch) {
  const { language, theme, stop_key, hold_key } = page.snapshot.me.settings;
  return ask("/api/settings", { language, theme, stop_key, hold_key, ...patch });
}

/** Takes the next key pressed, of whatever keyboard or pedal; keys that mean something already are not taken. */
function bind(key) {
  change({ binding: key });
  const take = (event) => {
    event.preventDefault();
    change({ binding: null });
    const other = page.snapshot.me.settings[KEYS.find((each) => each !== key)];
    const isTaken = TAKEN.has(event.code) || /^Digit[1-8]$/.test(event.code) || event.code === other;
    if (isTaken) change({ told: t("page.settings.taken") });
    else keep({ [key]: event.code });
  };
  window.addEventListener("keydown", take, { once: true });
}
