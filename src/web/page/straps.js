// The straps: their list and the sources they are heard through. Rows stay in the order of their
// numbers and change in place; nothing jumps. No person's number is here, the hub gives none.

import { say, count, has, span } from './texts.js';

const EVERY_MS = 2000;
const WEAK_PCT = 20;
const $ = (id) => document.getElementById(id);

const SIGNS = {
  well: '<circle cx="12" cy="12" r="5"/>',
  hand: '<path d="M2 13h4l2-6 3 12M14 13h1M18 13h1M22 13h.5"/>',
  self: '<circle cx="12" cy="12" r="9"/><path d="M12 7v5l3 2"/>',
};

/** How a strap is: `well`, `hand` (a person must act), `self` (it helps itself), `away`. */
function standing(strap) {
  if (strap.state === 'away') return 'away';
  if (strap.state === 'connecting' || strap.state === 'seen') return 'self';
  if (strap.state === 'silent' || strap.state === 'off_body') return 'hand';
  if (strap.reason === null) return 'well';
  return strap.reason === 'warming_up' ? 'self' : 'hand';
}

function words(strap, stands) {
  if (stands === 'well') return { what: say('strap.well'), act: '' };
  const key = strap.state === 'streaming' ? strap.reason : strap.state;
  const known = has(`strap.${key}`);
  let what = known ? say(`strap.${key}`) : String(key).replace(/_/g, ' ');
  if (strap.link && stands !== 'hand') what = sentence(strap.link);
  return { what, act: has(`strap.${key}.do`) && stands === 'hand' ? say(`strap.${key}.do`) : '' };
}

const sentence = (text) => { const t = text.trim(); return t.charAt(0).toUpperCase() + t.slice(1) + (/[.!?]$/.test(t) ? '' : '.'); };
const title = (label) => label.charAt(0).toUpperCase() + label.slice(1);
/** `Strap 7` as its word and its number: on the wall a tile has room for the number alone. */
const split = (label) => { const m = /^(.*\s)(\d+)$/.exec(label); return m ? [m[1], m[2]] : ['', label]; };
const number = (label) => { const m = /(\d+)\s*$/.exec(label); return m ? Number(m[1]) : Infinity; };
const byLabel = (a, b) => number(a.label) - number(b.label) || (a.label < b.label ? -1 : a.label > b.label ? 1 : 0);

/** Sets text only when it changed: less work, and nothing selected gets lost. */
const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };

export class Straps {
  constructor(tell) {
    this.tell = tell;            // says a sentence to those who listen to the page
    this.rows = new Map();
    this.stood = new Map();
    this.seenAt = null;
    document.addEventListener('visibilitychange', () => this.plan(0));
    this.plan(0);
  }

  plan(wait) {
    clearTimeout(this.timer);
    if (!document.hidden) this.timer = setTimeout(() => this.ask(), wait);
  }

  async ask() {
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), 4000);
    try {
      const answer = await fetch('api/straps', { signal: patience.signal, cache: 'no-store' });
      if (answer.ok) { this.show(await answer.json()); this.seenAt = performance.now(); }
    } catch (_) { /* the age below says it */ }
    clearTimeout(timer);
    this.age();
    this.plan(EVERY_MS);
  }

  age() {
    const age = this.seenAt === null ? 0 : performance.now() - this.seenAt;
    const old = age > 6000;
    $('straps-age').hidden = !old;
    $('straps-age').closest('section').classList.toggle('stale', old);
    if (old) put($('straps-age'), say('age.straps', { time: span(age) }));
  }

  show({ straps, sources }) {
    this.showSources(sources);
    const all = straps.slice().sort(byLabel);
    const near = all.filter((strap) => standing(strap) !== 'away');
    const away = all.filter((strap) => standing(strap) === 'away');
    const counts = { hand: 0, self: 0, well: 0 };
    near.forEach((strap, place) => { const stands = standing(strap); counts[stands] += 1; this.row(strap, stands, place); });
    for (const [label, row] of this.rows) if (!near.some((strap) => strap.label === label)) { row.node.remove(); this.rows.delete(label); }
    put($('counts'), ['hand', 'self', 'well'].filter((k) => counts[k]).map((k) => count(`straps.counts.${k}`, counts[k])).join(', '));
    put($('none'), say('straps.none'));
    $('none').hidden = near.length > 0 || !sources.some((source) => source.up);
    $('away').hidden = away.length === 0;
    put($('away-count'), count('straps.away', away.length));
    put($('away-list'), away.map((strap) => title(strap.label)).join(', '));
    this.announce(near);
  }

  showSources(sources) {
    const list = $('sources');
    const shown = sources.filter((source) => !source.up);
    while (list.children.length > shown.length) list.lastChild.remove();
    shown.forEach((source, n) => {
      const item = list.children[n] || list.appendChild(document.createElement('li'));
      item.className = source.code === 'starting' ? '' : 'down';
      put(item, source.text);
    });
  }

  row(strap, stands, place) {
    let row = this.rows.get(strap.label);
    if (!row) { row = makeRow(); this.rows.set(strap.label, row); }
    const list = $('list');
    if (list.children[place] !== row.node) list.insertBefore(row.node, list.children[place] || null);
    if (row.stands !== stands) { row.stands = stands; row.sign.innerHTML = SIGNS[stands]; }
    const weak = strap.batteryPct !== null && strap.batteryPct < WEAK_PCT;
    row.node.className = `strap ${stands}${weak ? ' weak' : ''}`;
    const { what, act } = words(strap, stands);
    const [kind, no] = split(title(strap.label));
    put(row.kind, kind); put(row.name, no);
    put(row.free, strap.claimed ? '' : say('strap.free'));
    put(row.what, what);
    put(row.act, act);
    row.act.hidden = act === '';
    const pct = strap.batteryPct;
    row.battery.hidden = pct === null;
    if (!row.battery.hidden) {
      row.battery.classList.toggle('weak', weak);
      row.charge.setAttribute('width', String(Math.max(1, 15 * pct / 100)));
      put(row.percent, say('battery', { n: pct }));
      row.battery.setAttribute('aria-label', say(weak ? 'battery.weak' : 'battery.read', { n: pct }));
    }
  }

  /** A strap that was well and fell silent, or came back: said once, to those who can't see it. */
  announce(near) {
    for (const strap of near) {
      const now = strap.state === 'streaming', before = this.stood.get(strap.label);
      if (before === true && strap.state === 'silent') this.tell(say('strap.lost', { strap: title(strap.label) }));
      if (before === false && now) this.tell(say('strap.back', { strap: title(strap.label) }));
      if (now || strap.state === 'silent') this.stood.set(strap.label, now);
    }
  }
}

function makeRow() {
  const node = document.createElement('li');
  node.innerHTML = `<svg class="sign" viewBox="0 0 24 24" aria-hidden="true" focusable="false"></svg>
    <p class="label"><span class="kind"></span><span class="name-no"></span><small></small></p>
    <p class="battery" role="img"><svg viewBox="0 0 24 12" aria-hidden="true" focusable="false"><rect x="1" y="1" width="19" height="10" rx="2"/><rect x="3" y="3" width="15" height="6" rx="1"/><path d="M22.5 4v4"/></svg><span></span></p>
    <p class="what"></p><p class="do" hidden></p>`;
  const find = (selector) => node.querySelector(selector);
  return {
    node, sign: find('.sign'), kind: find('.kind'), name: find('.name-no'), free: find('.label small'), what: find('.what'), act: find('.do'),
    battery: find('.battery'), charge: find('.battery rect + rect'), percent: find('.battery span'),
  };
}
