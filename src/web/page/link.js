// The line to the hub: one WebSocket that comes back by itself, and asks for the hub's time. No drawing here.

import { HubClock, ROUND, ROUND_EVERY_MS } from './clock.js';

const SILENCE_MS = 12_000;     // the hub speaks every 5 s; after this the line is dead, whatever it says
const PATIENCE_MS = 10_000;     // for an answer of the hub
const REPLACED = 4001;         // the hub's word for: this place is open on another page now
const OPENING_MS = 4_000;      // for a line: who presses at once is not told that the hub is gone
const SYNC_STEP_MS = 200;       // between the exchanges of one round

/** Connects, and connects again. `onFrame(frame)` for each frame, `onState(open)` when the line opens or closes. */
export class Link {
  constructor(url, clock, onFrame, onState) {
    Object.assign(this, { url, clock, onFrame, onState, tries: 0, heard: 0, asked: 0, elsewhere: false, waiting: new Map(), held: new Map(), lostAt: performance.now() });
    this.open();
    setInterval(() => this.watch(), 1000);
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.wake(); });
    window.addEventListener('online', () => { if (!this.elsewhere) this.wake(); });
    window.addEventListener('pageshow', (event) => { if (event.persisted) this.wake(); });
  }
  get up() { return Boolean(this.socket) && this.socket.readyState === WebSocket.OPEN; }

  open() {
    clearTimeout(this.timer);
    this.elsewhere = false;
    const socket = new WebSocket(this.url, 'coherence.v1');
    this.socket = socket;
    this.heard = performance.now();
    socket.onopen = () => { this.tries = 0; this.lostAt = null; this.onState(true); this.sendHeld(); this.syncSoon(); };
    socket.onmessage = (event) => {
      const back = performance.now();
      this.heard = back;
      let frame;
      try { frame = JSON.parse(event.data); } catch (_) { return; }
      if (frame.type === 'sync_response') this.clock.learn(frame.clientTime, frame.receivedAt, frame.sentAt, back);
      this.onFrame(frame);
      if (frame.re !== undefined) this.settle(frame.re, frame);
    };
    socket.onclose = (event) => { if (socket === this.socket) this.lost(event.code === REPLACED); };
  }

  /** The line is gone. Of two pages with one place the one that was looked at last has it: the other (`elsewhere`)
      waits until it is looked at, or they would push each other out for ever. */
  lost(elsewhere = false) {
    this.socket = null;
    this.elsewhere = elsewhere;
    for (const id of Array.from(this.waiting.keys())) if (!this.held.has(id)) this.refuse(id, 'offline');
    if (this.lostAt === null) { this.lostAt = performance.now(); this.onState(false); }
    if (elsewhere) return;
    // Doubling from half a second to ten, each time somewhere between half and one and a half of it:
    // a room full of phones must not come back in one moment.
    const wait = Math.min(10_000, 500 * 2 ** this.tries) * (0.5 + Math.random());
    this.tries = Math.min(this.tries + 1, 10);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), wait);
  }

  drop() {
    const dead = this.socket;
    this.socket = null;
    if (dead) { dead.onclose = dead.onmessage = dead.onopen = null; dead.close(); }
    this.lost();
  }

  /** Looked at again, or the network is back: no waiting. */
  wake() {
    if (this.clock.slept()) this.clock.doubt();
    this.tries = 0;
    if (this.up && performance.now() - this.heard < SILENCE_MS) this.syncSoon();
    else if (!this.socket || this.up) this.renew();
  }

  /** A line on which nobody has joined yet. */
  renew() { this.drop(); this.open(); }

  /** Sends a frame; false where there is no line. */
  send(frame) {
    if (!this.up) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  /** Sends a frame, as soon as there is a line, and waits for its answer, which is an object with `type`; an
      `error` frame, no line for a while, a broken one and ten seconds of silence are thrown. */
  ask(frame) {
    const id = `q${++this.asked}`, question = { ...frame, id };
    return new Promise((done, fail) => {
      this.waiting.set(id, { done, fail });
      if (this.send(question)) this.wait(id, PATIENCE_MS, 'busy');
      else { this.held.set(id, question); this.wait(id, OPENING_MS, 'offline'); }
    });
  }

  /** So long, and it is refused. */
  wait(id, ms, code) {
    const asker = this.waiting.get(id);
    clearTimeout(asker.timer);
    asker.timer = setTimeout(() => this.refuse(id, code), ms);
  }

  sendHeld() {
    for (const [id, question] of this.held) if (this.send(question)) this.wait(id, PATIENCE_MS, 'busy');
    this.held.clear();
  }

  refuse(id, code) { this.settle(id, { type: 'error', code, message: '' }); }

  settle(id, answer) {
    const asker = this.waiting.get(id);
    if (!asker) return;
    this.waiting.delete(id);
    this.held.delete(id);
    clearTimeout(asker.timer);
    if (answer.type === 'error' || answer.type === 'rate_limit_exceeded') asker.fail(answer); else asker.done(answer);
  }

  watch() {
    if (this.clock.slept()) { this.clock.doubt(); if (this.up) this.syncSoon(); }
    if (this.socket && performance.now() - this.heard > SILENCE_MS) this.drop();
    if (this.up && (this.clock.due || performance.now() > this.nextSync)) this.syncSoon();
  }

  sync() {
    if (this.up) this.socket.send(JSON.stringify({ type: 'sync_request', clientTime: performance.now() }));
  }

  /** A round of exchanges, one after the other, so that one of them is quick. */
  syncSoon() {
    const socket = this.socket;
    this.nextSync = performance.now() + ROUND_EVERY_MS;
    this.clock.begin();
    clearTimeout(this.round);
    const step = (left) => {
      if (this.socket !== socket || left === 0) return;
      this.sync();
      this.round = setTimeout(() => step(left - 1), SYNC_STEP_MS);
    };
    step(ROUND);
  }
}

export { HubClock };
