// "This is my heart": twelve touches with one's own pulse, and the hub says whose beats they are. The person
// decides. A strap may also be lifted off the skin: the hub sees which one falls silent.

import { $, put, show, make } from './dom.js';
import { strapName } from './straps.js';
import { say, number, explain } from './texts.js';

const TAPS = 12, FEWEST = 8, MOST = 48;
const PAUSE_MS = 3000;          // a longer pause begins anew
const FITS = { fits_well: 3, fits_a_little: 1 };

export class Claim {
  /** `ask(frame)` asks the hub, `clock` is its clock, `done(label)` goes on with the strap that was claimed. */
  constructor({ ask, clock, done }) {
    Object.assign(this, { ask, clock, done, taps: [], asking: false });
    // pointerdown, not click: the moment of the touch is what counts.
    $('tapper').addEventListener('pointerdown', (event) => { event.preventDefault(); this.tap(event.timeStamp); });
    $('tapper').addEventListener('keydown', (event) => { if ((event.key === ' ' || event.key === 'Enter') && !event.repeat) { event.preventDefault(); this.tap(event.timeStamp); } });
    $('claim-yes').addEventListener('click', () => this.take());
    $('claim-lift').addEventListener('click', () => this.lift());
  }

  begin() { this.taps = []; this.proposal = null; this.show([]); put('tap-say', ''); this.draw(); $('tapper').focus({ preventScroll: true }); }

  tap(stamp) {
    const now = this.clock.now();
    if (now === null) return;
    const at = now - (performance.now() - stamp), last = this.taps[this.taps.length - 1];
    if (last !== undefined && at - last > PAUSE_MS) this.taps = [];
    this.taps = this.taps.concat([at]).slice(-MOST);
    this.draw();
    const n = this.taps.length;
    if (n < TAPS) put('tap-say', n >= FEWEST ? say('claim.clearer', { n: number(TAPS - n) }) : '');
    if (n >= FEWEST && n % 2 === 0) this.compare();
  }

  draw() {
    const n = this.taps.length, of = Math.max(TAPS, n);
    put('tap-num', number(n)); put('tap-of', say('claim.count', { n: number(n), of: number(of) }).replace(number(n), '').trim());
    $('marks').innerHTML = Array.from({ length: TAPS }, (_, i) => {
      const turn = (i / TAPS - 0.25) * 2 * Math.PI;
      return `<circle class="${i < n ? 'on' : 'off'}" cx="${(120 + 88 * Math.cos(turn)).toFixed(1)}" cy="${(120 + 88 * Math.sin(turn)).toFixed(1)}" r="6"/>`;
    }).join('');
  }

  async compare() {
    if (this.asking) return;
    this.asking = true;
    try {
      const found = await this.ask({ type: 'find_my_heart', method: 'tap', taps: this.taps });
      this.show(found.candidates, found.proposal);
      if (this.taps.length >= TAPS && !found.proposal) put('tap-say', say(found.candidates.length ? 'claim.unclear' : 'claim.nothing'));
      if (found.proposal) put('tap-say', '');
    } catch (problem) { if (problem.code !== 'rate_limited') put('tap-say', explain(problem)); }
    this.asking = false;
  }

  show(candidates, proposal = null) {
    this.proposal = proposal;
    $('found').replaceChildren(...candidates.map(({ label, fit }) => {
      const bars = make('span', { class: `fit f${FITS[fit] || 0}`, 'aria-hidden': 'true' }, make('i'), make('i'), make('i'));
      return make('li', {}, bars, make('b', {}, strapName(label)), make('em', {}, say(fit === 'fits_well' ? 'claim.fits.well' : 'claim.fits.little')));
    }));
    show('claim-yes', proposal !== null);
    if (proposal !== null) put('claim-yes', say('claim.yes', { strap: strapName(proposal) }));
  }

  async lift() {
    put('tap-say', say('claim.lifting'));
    $('claim-lift').disabled = true;
    try {
      let found = await this.ask({ type: 'find_my_heart', method: 'lift' });
      if (found.leftMs) {
        await new Promise((done) => setTimeout(done, found.leftMs));
        found = await this.ask({ type: 'find_my_heart', method: 'lift' });
      }
      this.show(found.candidates, found.proposal);
      put('tap-say', found.proposal ? '' : say('claim.lift.none'));
    } catch (problem) { put('tap-say', explain(problem)); }
    $('claim-lift').disabled = false;
  }

  async take() {
    const label = this.proposal;
    if (label === null) return;
    try { const { strap } = await this.ask({ type: 'claim_strap', strap: label }); this.done(strap); } catch (problem) { put('tap-say', explain(problem)); }
  }
}
