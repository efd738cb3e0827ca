// Who works here: the own password, and for clinicians all accounts.

import { ask, change, fetched, html, page } from "./page.js";
import { Choice, Field, Form } from "./parts.js";
import { t } from "./texts.js";

const ROLES = ["clinician", "engineer", "viewer"];

/** The own password; and for a clinician every account, and another. */
export function Accounts() {
  const { me } = page.snapshot;
  return html`<details><summary>${t("page.accounts.password")}</summary><${Password} account=${me.account} /></details>
    ${me.role === "clinician" && html`<details onToggle=${({ currentTarget }) => currentTarget.open && list()}><summary>${t("page.accounts.title")}</summary>
      <ul class="cards">${(page.accounts ?? []).map(({ account, role }) => html`<li class="card" key=${account}><strong>${account}</strong>, ${t(`page.role.${role}`)}
        ${account !== me.account && html`<details><summary>${t("page.accounts.change")}</summary><${Role} key=${role} account=${account} role=${role} />
          <${Password} account=${account} /></details>`}</li>`)}</ul>
      <h3>${t("page.accounts.add")}</h3>
      <${Form} onDone=${add} say=${t("page.accounts.add_do")}>
        <${Field} label=${t("page.account")} hint=${t("page.accounts.name")} name="account" required />
        <${Field} label=${t("page.password")} hint=${t("page.setup.password")} name="password" type="password" autocomplete="new-password" required />
        <${Roles} />
      </${Form}></details>`}`;
}

const Roles = ({ chosen }) => html`<${Choice} legend=${t("page.accounts.role")} name="role" chosen=${chosen}
  options=${ROLES.map((role) => [role, html`<span>${t(`page.role.${role}`)} <small>${t(`page.accounts.can.${role}`)}</small></span>`])} />`;

function Role({ account, role }) {
  return html`<${Form} say=${t("page.accounts.role_do")} onDone=${(form) => send("role", { account, role: form.get("role") },
    () => t("page.accounts.role_done", { account, role: t(`page.role.${form.get("role")}`) }))}><${Roles} chosen=${role} /></${Form}>`;
}

function Password({ account }) {
  const isOwn = account === page.snapshot.me.account;
  const done = (form, element) => send("password", { account, password: form.get("password"), own: form.get("own") },
    () => (element.reset(), t("page.accounts.password_done", { account })));
  return html`<${Form} onDone=${done} say=${t("page.accounts.password_do")}>
    <${Field} label=${t("page.accounts.own")} name="own" type="password" autocomplete="current-password" required />
    <${Field} label=${isOwn ? t("page.accounts.new") : t("page.accounts.new_of", { account })} hint=${t("page.setup.password")} name="password" type="password"
      autocomplete="new-password" required /></${Form}>`;
}

function add(form, element) {
  const account = form.get("account");
  return send("", { account, password: form.get("password"), role: form.get("role") }, () => (element.reset(), t("page.accounts.added", { account })));
}

async function send(path, body, done) {
  if ((await ask(`/api/accounts${path && `/${path}`}`, body)) === null) return;
  if (page.snapshot.me.role === "clinician") await list();
  change({ told: done() });
  document.querySelector(".told")?.scrollIntoView({ block: "nearest" });
}

async function list() {
  const said = await fetched("/api/accounts");
  if (said !== null) change({ accounts: said.accounts });
}
