// The face map, as a person stands before us: their right is on our left. Sides are not told apart on the wire, so both
// halves show the same. Passes are said by a figure and a shade, never by colour alone.

import { html, page } from "./page.js";
import { shown } from "./parts.js";
import { t } from "./texts.js";

const MIRROR = "matrix(-1 0 0 1 300 0)";
const WIDTH = 300;
const DARKEST = 4;

/** The map: `areas` as in the snapshot, the area chosen, and what a click on a zone does; `names` are those to click. */
export function FaceMap({ areas, chosen, names, onPick }) {
  if (page.face === null) return null;
  const { view_box: box, head, mouth, features, zones } = page.face;
  const given = new Map(areas.map((area) => [area.area, area]));
  const halves = Object.entries(zones).flatMap(([name, zone]) => halvesOf(name, zone));
  const ordered = [...halves.filter(({ name }) => name !== chosen), ...halves.filter(({ name }) => name === chosen)]; // rim on top
  return html`<svg viewBox=${box} class="face" role="img" aria-label=${t("page.treat.map")}>
    <clipPath id="head"><path d=${head} /></clipPath>
    <path d=${head} class="skin" />
    <g clip-path="url(#head)">${ordered.map(({ key, name, path, mirrored }) => html`<path key=${key} d=${path} class="zone"
      transform=${mirrored ? MIRROR : null} data-passes=${shade(given.get(name))} data-closed=${Boolean(given.get(name)?.closed)}
      data-active=${name === chosen} data-planned=${names.includes(name)} onClick=${names.includes(name) ? () => onPick(name) : null} />`)}</g>
    <g class="features">${features.map((d) => html`<path d=${d} /><path d=${d} transform=${MIRROR} />`)}<path d=${mouth} /></g>
    <g class="counts">${halves.map(({ key, name, x, y }) => given.has(name) && html`<text key=${key} x=${x} y=${y}>${shown(given.get(name).passes)}</text>`)}</g>
    <path d=${head} class="head" />
    <text x="50" y="30" class="side">${t("report.right_side")}</text><text x="250" y="30" class="side">${t("report.left_side")}</text>
  </svg>`;
}

function halvesOf(name, { path, at: [x, y], pair }) {
  const left = { key: name, name, path, x, y, mirrored: false };
  return pair ? [left, { ...left, key: `${name}, mirrored`, x: WIDTH - x, mirrored: true }] : [left];
}

function shade(given) {
  return given ? Math.min(given.passes ?? 0, DARKEST) : "none";
}
