// Listens to the brokers and shows what they say. The page sends nothing but its subscriptions and who it is.

import { Connection } from "./connection.js";
import { isName } from "./messages.js";
import { Pens } from "./pens.js";
import { settings } from "./settings.js";
import { Page } from "./view.js";

const REFRESH_MS = 250;
const SLEPT_S = 6; // no pen that is there is silent for so long, and no tab that is seen does nothing for so long

const named = new URLSearchParams(location.search).getAll("site");
const sites = named.length > 0 ? named : settings.sites;
const wrong = sites.filter((site) => !isName(site));
const pens = new Pens(settings.brokers, settings.areas);
const connections = new Map();
const clock_s = clock();
let awake_s = 0;

if (wrong.length > 0) {
  new Page(`No site can be called ${wrong.join(", ")}: use letters, digits, _ or -.`);
} else {
  const page = new Page(sites.length > 0 ? sites.join(", ") : "all sites", (broker, ...who) =>
    connections.get(broker).signIn(...who),
  );
  const filters = (sites.length > 0 ? sites : ["+"]).map((site) => `pen/v1/${site}/+/#`);
  for (const broker of settings.brokers) connections.set(broker, new Connection(broker, filters, pens, now_s));
  setInterval(() => page.show(pens.view(now_s())), REFRESH_MS);
}

/** Returns the time in seconds. After a sleep of the machine all connections begin anew, for what waits there is old. */
function now_s() {
  const before_s = awake_s;
  awake_s = clock_s();
  if (awake_s - before_s > SLEPT_S) for (const connection of connections.values()) connection.renew();
  return awake_s;
}

/** Returns a clock of seconds since now that never runs backwards, and goes on while the machine sleeps. */
function clock() {
  let [time_s, steady_ms, wall_ms] = [0, performance.now(), Date.now()];
  return () => {
    const [steady, wall] = [performance.now(), Date.now()];
    time_s += Math.max(steady - steady_ms, wall - wall_ms) / 1000;
    [steady_ms, wall_ms] = [steady, wall];
    return time_s;
  };
}
