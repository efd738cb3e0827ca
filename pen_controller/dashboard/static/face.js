// The face map: the face's areas by their names on the wire, as a person stands before us. Sides are not told apart,
// since an area of the wire has none: both halves show the same. Its shapes are those of face.json.

const SVG = "http://www.w3.org/2000/svg";
let drawn = 0;

/** A map of one pen's passes, of the shapes given; `element` belongs in the page. */
export class FaceMap {
  #zones = new Map();

  constructor({ view_box, head, mouth, features: paired, zones: named }) {
    this.element = shape("svg", { viewBox: view_box, class: "face", role: "img", "aria-label": "Passes on the face" });
    const clip = `head-${(drawn += 1)}`;
    const outline = shape("clipPath", { id: clip });
    outline.append(shape("path", { d: head }));
    const zones = shape("g", { "clip-path": `url(#${clip})` });
    const counts = shape("g", { class: "counts" });
    for (const [name, zone] of Object.entries(named)) {
      const parts = halves(zone).map((half) => drawHalf(half, zones, counts));
      this.#zones.set(name, parts);
    }
    this.element.append(outline, shape("path", { d: head, class: "skin" }), zones, features(paired, mouth), counts);
    this.element.append(shape("path", { d: head, class: "head" }));
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

function features(paired, mouth) {
  const group = shape("g", { class: "features" });
  for (const d of paired) group.append(shape("path", { d }), shape("path", { d, ...MIRROR }));
  group.append(shape("path", { d: mouth }));
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
