// Every strap and what to do about it, for who leads: which need a hand, which help themselves, which are
// well. Signals, never scores.

import { $, put, show, draw, make } from './dom.js';
import { strapName } from './straps.js';
import { say, count, has, span } from './texts.js';

const SETTLED_MS = 3000;        // a strap moves between groups once it has been so for so long
const WEAK_PCT = 20;

const LINKED = 'M8 8a4 4 0 1 0 0 8h3M16 16a4 4 0 1 0 0-8h-3', CLOCK = 'M12 3a9 9 0 1 1-9 9M12 7v5l3 2', EVEN = 'M3 12h18';
const SIGNS = {
  off_body: 'M4 12h5l2-5 3 10 2-5h2M4 20 20 4', poor_signal: 'M3 12h3l2-6 2 10M14 12h1M18 12h3', flat: EVEN, computed: EVEN, simulated: EVEN,
  link_down: LINKED, waiting_for_link: LINKED, silent: 'M4 12h3M10.5 12h3M17 12h3', warming_up: CLOCK, connecting: CLOCK, seen: CLOCK,
};
const BY_THEMSELVES = ['warming_up', 'connecting', 'seen'];

const number = (label) => { const found = /(\d+)\s*$/.exec(label); return found ? Number(found[1]) : Infinity; };

/** What a strap is in: a group, and why, as the hub calls it. */
export function standing(strap) {
  if (strap.state === 'away') return { group: 'away', key: 'away' };
  const key = strap.cause ? strap.cause.code : 'well';
  return { group: key === 'well' ? key : BY_THEMSELVES.includes(key) ? 'self' : 'hand', key };
}

/** Why it gives no score and what to do, in this language where there are words; else in the hub's own. */
function words(strap, key) {
  const cause = strap.cause || { text: key, advice: '' }, known = has(`lead.no.${key}`);
  // What broke a link is told in the hub's words only.
  return { what: known ? say(`lead.no.${key}`) : cause.text, todo: has(`lead.no.${key}.do`) ? say(`lead.no.${key}.do`) : known ? '' : cause.advice };
}

export class Truth {
  constructor() { this.stood = new Map(); }

  show({ straps, sources }, now = performance.now()) {
    const all = straps.slice().sort((a, b) => number(a.label) - number(b.label)).map((strap) => this.settled(strap, now));
    const group = (name) => all.filter((row) => row.group === name);
    const hand = group('hand').sort((a, b) => a.since - b.since), self = group('self'), well = group('well'), away = group('away');
    this.sources(sources);
    show('none', all.length === away.length && sources.some((source) => source.up));
    this.list('needs', hand, (row) => this.needs(row, now));
    show('h-own', self.length > 0);
    this.list('own', self, (row) => this.helps(row, now));
    show('h-well', well.length > 0);
    this.list('well', well, (row) => this.well(row));
    show('away', away.length > 0); put('away', count('lead.away', away.length));
    put('counts', [['hand', hand], ['self', self], ['well', well]].filter(([, rows]) => rows.length).map(([name, rows]) => count(`lead.counts.${name}`, rows.length)).join(', '));
    show('jump', hand.length > 0); put('jump', count('lead.jump', hand.length));
    return { heard: straps.filter((strap) => strap.state === 'streaming').length, known: straps.length - away.length };
  }

  /** A strap in the group in which it has been for a while, so that nothing flickers. */
  settled(strap, now) {
    const { group, key } = standing(strap), stood = this.stood.get(strap.label);
    if (!stood) { this.stood.set(strap.label, { group, key, since: now, wanted: group, wantedSince: now }); return { strap, group, key, since: now }; }
    if (stood.wanted !== group) { stood.wanted = group; stood.wantedSince = now; }
    if (stood.group !== group && now - stood.wantedSince >= SETTLED_MS) { stood.group = group; stood.since = stood.wantedSince; }
    if (stood.group === group) stood.key = key;
    return { strap, group: stood.group, key: stood.key, since: stood.since };
  }

  sources(sources) {
    const shown = sources.filter((source) => !source.up || (source.links && source.links.waiting.length));
    $('sources').replaceChildren(...shown.map((source) => {
      const links = source.up && source.links, sum = (name) => links.adapters.reduce((all, adapter) => all + adapter[name], 0);
      const text = links ? say('lead.links', { held: sum('held'), all: sum('held') + links.waiting.length, waiting: links.waiting.map(strapName).join(', ') }) : source.text;
      return make('li', { class: 'banner' }, text);
    }));
  }

  /** Draws a list anew only where a line changed. */
  list(id, rows, line) {
    const lines = rows.map(line);
    draw(id, JSON.stringify(lines), () => '');
    const list = $(id);
    if (list.childElementCount === lines.length && list.dataset.shown === list.dataset.drawn) return;
    list.dataset.shown = list.dataset.drawn;
    list.replaceChildren(...lines.map((parts) => this.node(id, parts)));
  }

  who(strap) { return strap.wearer === undefined ? (strap.claimed ? '' : say('lead.no_one')) : strap.wearer === null ? say('lead.no_one') : strap.wearer.name || say('lead.unnamed'); }

  needs({ strap, key, since }, now) {
    return { key, name: strapName(strap.label), who: this.who(strap), since: say('lead.since', { time: span(now - since) }), ...words(strap, key), battery: strap.batteryPct };
  }

  helps({ strap, key }) {
    return { key, name: strapName(strap.label), who: this.who(strap), what: words(strap, key).what };
  }

  well({ strap }) {
    const name = strapName(strap.label), digits = /(\d+)$/.exec(name);
    return { name: digits ? digits[1] : name, who: this.who(strap), battery: strap.batteryPct !== null && strap.batteryPct < WEAK_PCT ? strap.batteryPct : undefined };
  }

  node(kind, line) {
    const part = (name, cls, text) => make(name, cls ? { class: cls } : {}, text);
    if (kind === 'well') {
      const item = make('li', {}, part('i', 'beat', ''), part('b', '', line.name), part('span', 'who', line.who));
      if (line.battery !== undefined) item.append(battery(line.battery));
      return item;
    }
    const sign = sign_(line.key), head = make('p', {}, part('b', '', line.name), ' ', part('span', 'who', line.who));
    if (kind === 'own') { head.append(make('br'), part('span', 'why', line.what)); return make('li', {}, sign, head); }
    head.append(part('span', 'since', line.since));
    const body = make('div', {}, head, part('p', 'why', line.what));
    if (line.todo) body.append(part('p', 'todo', line.todo));
    return make('li', {}, sign, body, battery(line.battery));
  }
}

function svg(box, ...shapes) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  node.setAttribute('viewBox', box); node.setAttribute('aria-hidden', 'true');
  for (const [name, attributes] of shapes) {
    const shape = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const key of Object.keys(attributes)) shape.setAttribute(key, attributes[key]);
    node.append(shape);
  }
  return node;
}

function sign_(key) { const node = svg('0 0 24 24', ['path', { d: SIGNS[key] || SIGNS.silent }]); node.setAttribute('class', 'sign'); return node; }

function battery(pct) {
  if (pct === null || pct === undefined) return make('span', { class: 'bat unknown' }, say('battery.unknown'));
  const weak = pct < WEAK_PCT;
  return make('span', { class: `bat${weak ? ' weak' : ''}` }, svg('0 0 24 12', ['rect', { x: 0.75, y: 0.75, width: 19.5, height: 10.5, rx: 2 }], ['path', { d: 'M22.5 4v4' }], ['rect', { class: 'in', x: 2.5, y: 2.5, width: (16 * pct / 100).toFixed(1), height: 7, rx: 1 }]), say(weak ? 'battery.weak' : 'battery.read', { n: pct }));
}
