// Who works here: set-up of the first account, and logging in.

import { ask, html, page } from "./page.js";
import { Field, Form, Heading } from "./parts.js";
import { t } from "./texts.js";

/** Set-up where nobody has an account yet, else log-in. */
export function EnterScreen() {
  const first = !page.setup.accounts;
  return html`<${Heading}>${t(first ? "page.setup.title" : "page.login.title")}</${Heading}>
    <p>${t(first ? "page.setup.intro" : "page.login.intro")}</p>
    <${Form} onDone=${(form) => enter(first, form)} say=${t(first ? "page.setup.do" : "page.login.do")}>
      <${Field} label=${t("page.account")} name="account" required autocomplete="username" />
      <${Field} label=${t("page.password")} hint=${first ? t("page.setup.password") : ""} name="password" type="password" required
        autocomplete=${first ? "new-password" : "current-password"} />
    </${Form}>
    <p class="quiet">${t("page.disclaimer")}</p>`;
}

async function enter(first, form) {
  const who = { account: form.get("account"), password: form.get("password") };
  const done = await ask(first ? "/api/setup" : "/api/login", first ? { ...who, role: "clinician" } : who);
  if (done !== null) location.reload(); // so that the socket has the new cookie
}
