// The straps as people without any office see them: label and state, in a list that never jumps under a finger.

import { show, draw, make } from './dom.js';
import { say, count } from './texts.js';

const EVERY_MS = 2000;
const FROZEN_MS = 5000;         // after a touch the order stays for so long

const number = (label) => { const found = /(\d+)\s*$/.exec(label); return found ? Number(found[1]) : Infinity; };
const byLabel = (a, b) => number(a.label) - number(b.label) || (a.label < b.label ? -1 : a.label > b.label ? 1 : 0);

/** A label as people say it; the hub's own `strap 7` in their language. */
export function strapName(label) {
  const found = /^strap (\d+)$/i.exec(label);
  return found ? say('strap.label', { n: found[1] }) : label;
}

/** Asks for the straps while somebody looks at them. */
export class StrapList {
  /** `list` shows the free ones; `onStraps(straps)` hears all. */
  constructor(list, name, onStraps = () => {}) {
    Object.assign(this, { list, name, onStraps, tiles: new Map(), timer: 0, turn: 0, touchedAt: -Infinity, chosen: '' });
    for (const event of ['pointerdown', 'focusin']) list.addEventListener(event, () => { this.touchedAt = performance.now(); });
    list.addEventListener('change', (event) => { this.chosen = event.target.value; });
  }

  start() { this.stop(); this.ask(this.turn); }
  stop() { clearTimeout(this.timer); this.turn += 1; }

  /** Asks again and again, until another turn begins. */
  async ask(turn) {
    try {
      const answer = await fetch('api/straps', { cache: 'no-store' });
      const straps = answer.ok ? (await answer.json()).straps : null;
      if (straps && turn === this.turn) { this.draw(straps.slice().sort(byLabel)); this.onStraps(straps); }
    } catch (_) { /* the page says elsewhere that the hub is away */ }
    if (turn === this.turn) this.timer = setTimeout(() => this.ask(turn), EVERY_MS);
  }

  draw(straps) {
    const heard = (strap) => strap.state === 'streaming' || strap.state === 'off_body';
    const free = straps.filter((strap) => !strap.claimed && strap.state !== 'away');
    const order = free.filter(heard).concat(free.filter((strap) => !heard(strap)));
    for (const [label, tile] of this.tiles) if (!free.some((strap) => strap.label === label) && this.chosen !== label) { tile.node.remove(); this.tiles.delete(label); }
    for (const strap of order) this.tile(strap, heard(strap));
    if (performance.now() - this.touchedAt < FROZEN_MS) return;
    order.forEach((strap, place) => {
      const node = this.tiles.get(strap.label).node;
      if (this.list.children[place] !== node) this.list.insertBefore(node, this.list.children[place] || null);
    });
  }

  tile(strap, heard) {
    let tile = this.tiles.get(strap.label);
    if (!tile) {
      const input = make('input', { type: 'radio', name: this.name, value: strap.label });
      const label = make('b'), sign = make('i', { 'aria-hidden': 'true' }), words = make('em', { class: 'words' });
      const node = make('label', { class: 'strap' }, input, make('span', {}, label, sign, words));
      tile = { node, input, label, sign, words };
      this.tiles.set(strap.label, tile);
      this.list.append(node);
    }
    tile.node.classList.toggle('silent', !heard);
    draw(tile.sign, heard ? 'heard' : 'none', () => '');
    tile.sign.className = heard ? 'heard' : 'none';
    const text = strap.state === 'off_body' ? 'join.strap.off_body' : heard ? 'join.strap.heard' : 'join.strap.silent';
    for (const [node, words] of [[tile.label, strapName(strap.label)], [tile.words, say(text)]]) if (node.textContent !== words) node.textContent = words;
  }

  /** Forgets the choice, as when the form is left. */
  clear() { this.chosen = ''; for (const tile of this.tiles.values()) tile.input.checked = false; }
}

/** How many straps are taken, as a line that opens. */
export function drawTaken(straps, node, words) {
  const taken = straps.filter((strap) => strap.claimed && strap.state !== 'away').length;
  show(node, taken > 0);
  draw(words, String(taken), () => '');
  words.textContent = count('join.strap.taken', taken);
}
