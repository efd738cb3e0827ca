// The page: listens, draws, says that it is alive, and notices when the service is not.

import { CaseScreen } from "./case.js";
import { ChecklistScreen } from "./checklist.js";
import { EnterScreen } from "./enter.js";
import { get, line, listen } from "./link.js";
import { Component, change, drawWith, html, learn, page, render } from "./page.js";
import { Problem } from "./parts.js";
import { PenScreen } from "./pens.js";
import { PlanScreen } from "./plan.js";
import { Practice } from "./practice.js";
import { ReportScreen } from "./report.js";
import { ScreeningScreen } from "./screening.js";
import { Settings } from "./settings.js";
import { Steps, stepOf } from "./steps.js";
import { bindStop } from "./stop.js";
import { speak, t } from "./texts.js";
import { Banners, TopBar } from "./top.js";
import { TreatScreen } from "./treat.js";
import { sayAlive } from "./treating.js";

const HOLDS_MS = 600; // how long a word of the service holds
const ALIVE_MS = 200;
const DRAW_MS = 100;
const SCREENS = {
  pen: PenScreen, case: CaseScreen, screening: ScreeningScreen, checklist: ChecklistScreen, plan: PlanScreen,
  treat: TreatScreen, report: ReportScreen, settings: Settings,
};

const TABLES = ["areas", "indications", "skin", "screening", "checklist", "aftercare"];

let configuring = false;
let language = "";
let session = "";
let focusBefore = null;

class Page extends Component {
  componentDidCatch(error) {
    fail(error);
  }

  render() {
    const { setup, snapshot, config } = page;
    if (setup === null || snapshot === null || (snapshot.me && config === null)) return html`<main class="narrow"><h1>Pen</h1><${Problem} /></main>`;
    if (!snapshot.me) return html`<main class="narrow"><h1>${t("page.title")}</h1><${Problem} /><${EnterScreen} /></main>`;
    page.shown = stepOf(page);
    const Screen = SCREENS[page.shown];
    return html`<${TopBar} /><${Banners} /><${Steps} />
      <main><${Problem} /><div class="screen" inert=${page.stale}><${Screen} /></div></main>
      ${config.practice && html`<${Practice} />`}`;
  }
}

/** Draws; only what was really drawn is said to be alive. */
function draw() {
  if (page.failed) return;
  try {
    render(html`<${Page} />`, document.getElementById("page"));
    page.drawn_n = page.snapshot?.n ?? 0;
  } catch (error) {
    fail(error);
  }
}

/** Nothing more is drawn, and nothing more is said to be alive: if needles run, the service stops them. */
function fail(error) {
  if (page.failed) return;
  page.failed = true;
  reportError(error);
  document.getElementById("page").replaceChildren();
  const fault = document.getElementById("fault");
  fault.textContent = t("page.fault");
  fault.hidden = false;
}

function take(message) {
  if (!("n" in message)) return;
  settle(message.me?.settings);
  bindStop(message.me?.settings?.stop_key ?? "");
  change({ snapshot: message, ...awake() });
  if (message.me && !configuring) configure();
  const name = message.treatment?.session ?? message.ended;
  if (name && name !== session) begun(name);
}

/** Brings language and look to what the account likes. */
function settle(settings) {
  document.documentElement.dataset.theme = settings?.theme ?? "system";
  const wanted = settings?.language ?? language;
  if (wanted === language) return;
  language = wanted;
  speak(wanted).then(() => change({}), reportError);
}

function awake() {
  const stale = performance.now() - line.heard_ms > HOLDS_MS;
  if (stale && !page.stale) focusBefore = document.activeElement; // it is lost while nothing can be used
  if (!stale && page.stale) queueMicrotask(() => focusBefore?.focus?.({ preventScroll: true }));
  return { stale, focused: document.hasFocus() };
}

/** Another treatment: nothing that was chosen for the last one holds. */
function begun(name) {
  session = name;
  change({ wanted: {}, draft: null, leftOut: {}, area: null, answers: [], correcting: null });
  if (page.snapshot.me.may_read) learn();
}

/** Asks once for what can be chosen; its tables become lists, each entry with its name. */
async function configure() {
  configuring = true;
  const [config, face] = await Promise.all([get("/api/config"), get("/api/face")]);
  for (const table of TABLES) config[table] = Object.entries(config[table]).map(([name, entry]) => ({ name, ...entry }));
  change({ config, face });
}

async function begin() {
  try {
    const setup = await get("/api/setup");
    const liked = navigator.languages.map((code) => code.split("-")[0]);
    language = liked.find((code) => code in setup.languages) ?? "en";
    await speak(language);
    change({ setup });
  } catch (problem) {
    change({ problem });
  }
}

drawWith(draw);
listen(take);
window.addEventListener("unhandledrejection", ({ reason }) => fail(reason));
setInterval(() => performance.now() - line.heard_ms > DRAW_MS && change(awake()), DRAW_MS); // else a snapshot has had it drawn
setInterval(sayAlive, ALIVE_MS);
begin();
