// Small parts that several screens are made of.

import { html, page } from "./page.js";
import { figure, t } from "./texts.js";

/** A heading that takes the focus when its screen is opened. */
export const Heading = ({ children }) => html`<h2 tabindex="-1">${children}</h2>`;

/** A labelled input; what else is given goes to the input. */
export function Field({ label, hint, wide, ...input }) {
  return html`<label class=${wide ? "field wide" : "field"}><span>${label}${hint && html` <small>${hint}</small>`}</span>
    <input autocomplete="off" ...${input} /></label>`;
}

/** One of several: `options` is [[value, label]]; nothing is chosen unless `chosen` says so. */
export function Choice({ legend, name, options, chosen, required = true, onChange }) {
  return html`<fieldset class="choice"><legend>${legend}</legend>
    ${options.map(([value, label]) => html`<label key=${value}>
      <input type="radio" name=${name} value=${value} required=${required} defaultChecked=${value === chosen}
        onChange=${onChange && (() => onChange(value))} /> ${label}</label>`)}
  </fieldset>`;
}

/** Any of several. */
export function Several({ legend, name, options, chosen = [] }) {
  return html`<fieldset class="choice"><legend>${legend}</legend>
    ${options.map(([value, label]) => html`<label key=${value}>
      <input type="checkbox" name=${name} value=${value} defaultChecked=${chosen.includes(value)} /> ${label}</label>`)}
  </fieldset>`;
}

/** A form that hands over its fields: `onDone(FormData)`; `say` is the words on its button. */
export function Form({ onDone, say, children, ...form }) {
  const submit = (event) => {
    event.preventDefault();
    onDone(new FormData(event.currentTarget), event.currentTarget);
  };
  return html`<form onSubmit=${submit} ...${form}>${children}
    <p class="actions"><button class="main" disabled=${page.busy !== ""}>${say}</button></p></form>`;
}

/** Why the last thing asked for was not done, with the limit that forbids it and who says so. */
export function Problem() {
  const { problem } = page;
  if (problem === null) return null;
  const { limit } = problem;
  return html`<div class="problem" role="alert"><p><strong>${problem.message}</strong></p>
    ${limit && !problem.message.includes(limit.source) && html`<p>${t("page.limit_source", { source: limit.source })}</p>`}</div>`;
}

/** What is still missing, or a caution, each with who says so. */
export function Reasons({ reasons, look }) {
  return html`<ul class=${`reasons ${look}`}>
    ${reasons.map(({ text, source }) => html`<li key=${text}>${text} <small>${t("page.source", { source })}</small></li>`)}
  </ul>`;
}

/** A figure with its unit; what is not known, or too old, is a dash. */
export const shown = (value, digits) => (page.stale ? figure(null) : figure(value, digits));

/** Whether the account may treat; who looks on sees everything, and STOPs. */
export const mayTreat = () => Boolean(page.snapshot?.me?.may_work);
