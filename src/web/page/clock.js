// The hub's time as seen from here. PURE: an offset from four stamps of each exchange; who sends them and
// when a round is due is the line's business. No drawing, no document.

/** Exchanges of one round. Of sixteen one is quick, also where the radio is busy. */
export const ROUND = 16;
/** Then again: clocks of phones drift by up to 100 ms in a thousand seconds. */
export const ROUND_EVERY_MS = 120_000;

const TRAVEL_MAX_MS = 5000;    // slower than this says nothing
const STAMP_MS = 1;            // the hub's stamps are whole milliseconds
const DRIFT = 0.0002;          // of two clocks, at worst: twice what quartz does
const SLEPT_MS = 1000;

/** One exchange: how far the hub's clock is ahead of ours, as seen on the way there (`there`: too much, by the time
    that way took) and on the way back (`back`: too little, by its time), ms; null if it says nothing. */
export function exchange(sent, received, answered, heard) {
  const there = received - sent, back = answered - heard, travel = there - back;
  // Quicker than the stamps are fine: by a millisecond that is rounding, by more somebody is wrong.
  return travel >= -2 * STAMP_MS && travel <= TRAVEL_MAX_MS ? { there, back, at: heard } : null;
}

/** What several exchanges say together: the quickest way there and the quickest way back, which need not be of one
    exchange. `offset` is the hub's clock less ours; it is wrong by half of `travel` at most. */
export function best(exchanges) {
  const there = Math.min(...exchanges.map((one) => one.there)), back = Math.max(...exchanges.map((one) => one.back));
  return { offset: (there + back) / 2, travel: Math.max(0, there - back), at: exchanges[exchanges.length - 1].at };
}

/** The hub's clock, by the newest whole round. */
export class HubClock {
  constructor(local = () => performance.now()) { this.local = local; this.round = []; this.held = null; this.due = false; this.doubtful = false; this.young = true; this.wall = Date.now() - local(); }
  get known() { return this.held !== null; }
  /** Unix ms of the hub's clock; null until the hub has told it. */
  now() { return this.known ? this.local() + this.held.offset : null; }
  /** True when this machine slept or its clock was set: what was measured before is worth nothing. */
  slept() {
    const wall = Date.now() - this.local(), jumped = Math.abs(wall - this.wall) > SLEPT_MS;
    this.wall = wall;
    return jumped;
  }
  /** A new round begins; the old offset holds until it is whole. */
  begin() { this.round = []; this.due = false; }
  /** What was measured before is worth nothing: the first new exchange counts at once, and a round is due. */
  doubt() { this.round = []; this.due = true; this.doubtful = true; }
  /** NTP's four stamps: ours at sending, the hub's two, ours at receiving. */
  learn(sent, received, answered, heard) {
    const one = exchange(sent, received, answered, heard);
    if (!one) return;
    if (this.known && this.contradicts(best([one]))) this.doubt();
    this.round.push(one);
    const found = best(this.round), whole = this.round.length >= ROUND;
    // Until a first round is whole, the best so far is better than nothing.
    if (!this.known || this.doubtful || whole || (this.young && found.travel < this.held.travel)) {
      this.held = found;
      this.young = !whole;
      this.doubtful = false;
    }
    if (whole) this.round = [];
  }
  /** True when the hub's clock, or ours, was set: no travel and no drift explains this offset. */
  contradicts(one) {
    const may = (one.travel + this.held.travel) / 2 + 2 * STAMP_MS + Math.abs(one.at - this.held.at) * DRIFT;
    return Math.abs(one.offset - this.held.offset) > may;
  }
}

/** The clock of this page. */
export const hubClock = new HubClock();
/** Unix ms of the hub's clock; null until it is known. */
export const hubNow = () => hubClock.now();
