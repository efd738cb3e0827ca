// Listens to the brokers and shows what they say. The page sends nothing but its subscriptions.

import mqtt from "./vendor/mqtt.esm.js";

import { isName } from "./messages.js";
import { Pens } from "./pens.js";
import { settings } from "./settings.js";
import { Page } from "./view.js";

const REFRESH_MS = 250;
const CONNECTION = {
  protocolVersion: 4, // 3.1.1, which every broker speaks
  timerVariant: "native", // the content policy allows no worker
  keepalive: 5,
  connectTimeout: 5000,
  reconnectPeriod: 1000,
  resubscribe: false, // we do
};

const named = new URLSearchParams(location.search).getAll("site");
const sites = named.length > 0 ? named : settings.sites;
const wrong = sites.filter((site) => !isName(site));
const pens = new Pens(settings.brokers, settings.areas);
const now_s = clock();

if (wrong.length > 0) {
  new Page(`No site can be called ${wrong.join(", ")}: use letters, digits, _ or -.`);
} else {
  const page = new Page(sites.length > 0 ? sites.join(", ") : "all sites");
  for (const broker of settings.brokers) listen(broker);
  setInterval(() => page.show(pens.view(now_s())), REFRESH_MS);
}

function listen(broker) {
  const filters = (sites.length > 0 ? sites : ["+"]).map((site) => `pen/v1/${site}/+/#`);
  const client = mqtt.connect(broker, CONNECTION);
  client.on("connect", () =>
    client.subscribe(filters, { qos: 1 }, (error, granted) => {
      const refused = error ?? granted?.some(({ qos }) => qos > 2);
      if (refused) pens.lost(broker, now_s(), "refuses the subscription");
      else pens.joined(broker);
    }),
  );
  client.on("message", (topic, bytes, { retain }) => pens.take(broker, topic, bytes, retain, now_s()));
  client.on("close", () => pens.lost(broker, now_s()));
  client.on("error", () => {}); // `close` follows, and says so on the page
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
