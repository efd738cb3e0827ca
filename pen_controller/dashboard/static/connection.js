// The connection to one broker: it goes on trying by itself, except where a person has to sign in.

import mqtt from "./vendor/mqtt.esm.js";

const RETRY_MS = 1000;
const OPTIONS = {
  protocolVersion: 4, // 3.1.1, which every broker speaks
  timerVariant: "native", // the content policy allows no worker
  keepalive: 5,
  connectTimeout: 5000,
  reconnectPeriod: RETRY_MS,
  resubscribe: false, // we do
};
const SIGN_IN = new Set([4, 5]); // CONNACK: bad user or password, not authorized

/** Listens to a broker, and tells `pens` what comes and how it fares; `now_s` is the time. */
export class Connection {
  #broker;
  #pens;
  #now_s;
  #client;
  #listens = false;

  constructor(broker, filters, pens, now_s) {
    [this.#broker, this.#pens, this.#now_s] = [broker, pens, now_s];
    const transformWsUrl = () => broker; // mqtt.js would take the brackets off an IPv6 address
    this.#client = mqtt.connect(broker, { ...OPTIONS, transformWsUrl, ...remembered(broker) });
    this.#client.on("connect", () => this.#subscribe(filters));
    this.#client.on("message", (topic, bytes, { retain }) => this.#take(topic, bytes, retain));
    this.#client.on("close", () => this.#close());
    this.#client.on("error", ({ code, message }) => this.#refused(code, message)); // if it has a code: see CONNACK
  }

  /** Begins anew: what is still under way to us was said before. */
  renew() {
    this.#close();
    if (!this.#client.connected) return;
    this.#client.end(true);
    this.#client.reconnect();
  }

  /** Tries with a user and a password, which the tab keeps if asked to, and nobody else. */
  signIn(username, password, keep) {
    if (keep) sessionStorage.setItem(this.#broker, JSON.stringify({ username, password }));
    Object.assign(this.#client.options, { username, password });
    this.#pens.signing(this.#broker);
    this.#client.reconnect();
  }

  #subscribe(filters) {
    this.#client.subscribe(filters, { qos: 1 }, (error) => {
      if (!this.#client.connected) return; // `close` follows
      if (error) return this.#ask("does not let you read these pens");
      this.#listens = true;
      this.#pens.joined(this.#broker);
    });
  }

  #take(topic, bytes, retained) {
    const now_s = this.#now_s(); // may find that we slept, and `renew`
    if (this.#listens) this.#pens.take(this.#broker, topic, bytes, retained, now_s);
  }

  #close() {
    this.#listens = false;
    this.#pens.lost(this.#broker, this.#now_s());
  }

  #refused(code, message) {
    const { username } = this.#client.options;
    if (SIGN_IN.has(code)) return this.#ask(username ? `does not let in ${username} with this password` : "asks who you are");
    if (!code) return; // no connection: `close` follows, and says so on the page
    this.#pens.refused(this.#broker, this.#now_s(), `${message}, trying again`, false);
    setTimeout(() => this.#client.reconnect(), RETRY_MS);
  }

  /** Leaves it to a person: an answer that will not change is not asked for again. */
  #ask(refusal) {
    this.#client.end(true);
    sessionStorage.removeItem(this.#broker);
    this.#pens.refused(this.#broker, this.#now_s(), refusal, true);
  }
}

function remembered(broker) {
  return JSON.parse(sessionStorage.getItem(broker) ?? "{}");
}
