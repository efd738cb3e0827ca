// The face map: the face's areas by their names on the wire, as a person stands before us. Sides are not told apart,
// since an area of the wire has none: both halves show the same.

const SVG = "http://www.w3.org/2000/svg";
const HEAD = "M150 12C84 12 40 64 40 140c0 66 6 112 34 148 22 30 44 46 76 46s54-16 76-46c28-36 34-82 34-148 0-76-44-128-110-128z";
const FEATURES = [
  "M80 147q20-15 42 1q-22 13-42-1z", // an eye, mirrored
  "M76 126q22-14 48-4", // a brow, mirrored
];
const MOUTH = "M116 260q20-12 34-6q14-6 34 6q-34 26-68 0z";

/** Each zone: its outline, where its count stands, and whether there is one on each side. */
const ZONES = {
  forehead: { path: "M20 108V58q130-44 260 0V108q-66-14-112-6h-36q-46-8-112 6z", at: [150, 74] },
  glabella: { path: "M134 102h32l-4 46h-24z", at: [150, 126] },
  temple: { path: "M20 108q20-4 36-4l2 64H20z", at: [51, 138], pair: true },
  periorbital: { path: "M56 104q40-7 78-2l4 46q-4 32-38 34q-34-2-42-28z", at: [98, 168], pair: true },
  nose: { path: "M138 148h24l8 48q12 22-4 30h-32q-16-8-4-30z", at: [150, 202] },
  cheekbone: { path: "M20 156h38q10 24 42 26q24-2 36-20l-6 36q-34 22-82 12H20z", at: [84, 197], pair: true },
  cheek: { path: "M62 213q42 4 68-17q-14 24 4 30h-8l-12 26q0 14 4 22q-4 10-18 16Q74 268 62 213z", at: [92, 240], pair: true },
  upper_lip: { path: "M126 226h48l12 26q-20-8-36-2q-16-6-36 2z", at: [150, 238] },
  chin: { path: "M114 252q36 60 72 0q0 14-4 22l10 80H108l10-80q-4-8-4-22z", at: [150, 307] },
  jawline: { path: "M20 208q20 6 42 5q12 57 38 77q14-6 18-16l-10 80H20z", at: [98, 297], pair: true },
};

/** Names of the areas on the map. */
export const FACE = Object.keys(ZONES);

let drawn = 0;

/** A map of one pen's passes; `element` belongs in the page. */
export class FaceMap {
  #zones = new Map();

  constructor() {
    this.element = shape("svg", { viewBox: "36 6 228 332", class: "face", role: "img", "aria-label": "Passes on the face" });
    const clip = `head-${(drawn += 1)}`;
    const outline = shape("clipPath", { id: clip });
    outline.append(shape("path", { d: HEAD }));
    const zones = shape("g", { "clip-path": `url(#${clip})` });
    const counts = shape("g", { class: "counts" });
    for (const [name, zone] of Object.entries(ZONES)) {
      const parts = halves(zone).map((half) => drawHalf(half, zones, counts));
      this.#zones.set(name, parts);
    }
    this.element.append(outline, shape("path", { d: HEAD, class: "skin" }), zones, features(), counts);
    this.element.append(shape("path", { d: HEAD, class: "head" }));
  }

  /** Shows `areas` ([{ name, passes (a text), closed }]) and which area is under the needles, "" if none is. */
  show(areas, active) {
    const given = new Map(areas.map((area) => [area.name, area]));
    for (const [name, parts] of this.#zones) {
      const area = given.get(name);
      const level = area ? Math.min(Number.parseInt(area.passes, 10) || 0, 4) : "none";
      for (const { path, count } of parts) {
        set(path, "data-passes", level);
        if (set(path, "data-active", name === active) && name === active) path.parentNode.append(path); // rim on top
        set(path, "data-closed", Boolean(area?.closed));
        const said = area?.passes ?? "";
        if (count.textContent !== said) count.textContent = said;
      }
    }
  }
}

function halves({ path, at, pair }) {
  const left = { path, at, mirrored: false };
  return pair ? [left, { path, at: [300 - at[0], at[1]], mirrored: true }] : [left];
}

function drawHalf({ path: d, at: [x, y], mirrored }, zones, counts) {
  const path = shape("path", { d, class: "zone", ...(mirrored && MIRROR) });
  const count = shape("text", { x, y });
  zones.append(path);
  counts.append(count);
  return { path, count };
}

const MIRROR = { transform: "matrix(-1 0 0 1 300 0)" };

function features() {
  const group = shape("g", { class: "features" });
  for (const d of FEATURES) group.append(shape("path", { d }), shape("path", { d, ...MIRROR }));
  group.append(shape("path", { d: MOUTH }));
  return group;
}

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Returns whether it was another before. */
function set(element, name, value) {
  const changes = element.getAttribute(name) !== String(value);
  if (changes) element.setAttribute(name, value);
  return changes;
}
