// The session's figure on a canvas, from the room's state; another session, another figure.

import { mandala } from './painter.js';
import { Glide, clamp } from './room.js';
import { positionAt, breathAt } from './pacer.js';

/** A figure that stands still is shown as it is at this second of its drift. */
const STILL_S = 60;

const still = matchMedia('(prefers-reduced-motion: reduce)');
const light = matchMedia('(prefers-color-scheme: light)');

/** Where the breath is now; null while it rests or nothing is known of it. */
export function breathNow(room, now) {
  const time = room.time(now), stage = room.stage;
  if (!stage || !time || time.phase === 'integration' || time.phase === 'complete' || stage.anchor.state !== 'playing') return null;
  return breathAt(positionAt(stage.anchor, now));
}

/** What the breath does now, as the key of its sentence; null while nothing is known of it. */
export function breathWord(room, now) {
  const at = breathNow(room, now), time = room.time(now);
  if (at) return at.into ? 'breath.in' : 'breath.out';
  if (!room.stage || !time || time.phase === 'complete') return null;
  return time.phase === 'integration' || room.stage.scene === 'rest' ? 'breath.own' : 'breath.paused';
}

export class Figure {
  /** `room` and `clock` are the page's, `card()` what the hub says of the room; `options` those of the painter. */
  constructor(id, over, room, clock, card, options) {
    Object.assign(this, { id, over, room, clock, card, options, seed: null, picture: null, calm: false });
    this.coherence = new Glide(); this.together = new Glide(); this.people = new Glide(1.2);
    for (const query of [still, light]) query.addEventListener('change', () => this.paint(this.seed));
  }

  get stillness() { return this.calm || still.matches; }

  /** Stands still from now on, or moves again. */
  rest(calm) { if (calm !== this.calm) { this.calm = calm; this.paint(this.seed); } }

  /** Paints the figure of a session, unless it is painted already. */
  of(seed) { if (seed !== null && seed !== this.seed) this.paint(seed); }

  paint(seed) {
    this.stop();
    this.seed = seed;
    if (seed === null) return;
    const canvas = (id) => document.getElementById(id);
    const options = { ...this.options, seed, state: (seconds) => this.state(seconds), still: this.stillness };
    if (this.over) options.over = canvas(this.over);
    if (light.matches && !this.options.dark) options.ink = true;
    // A graphics chip that was taken away (a driver that starts anew): all is painted anew.
    options.lost = () => this.paint(this.seed);
    this.picture = mandala(canvas(this.id), options);
  }

  stop() {
    if (!this.picture) return;
    this.picture.stop();
    this.picture = null;
    // A canvas keeps its first context: the next painter gets a fresh one.
    for (const id of [this.id, this.over].filter(Boolean)) {
      const old = document.getElementById(id), fresh = old.cloneNode();
      fresh.removeAttribute('style');
      old.replaceWith(fresh);
    }
  }

  redraw() { if (this.picture && this.stillness) this.picture.redraw(); }

  /** What the figure is made of at a moment. */
  state(seconds) {
    // Asked ahead of its time it tells the breath of then.
    const { room } = this, present = this.clock.now(), now = present === null ? null : present + seconds * 1000 - performance.now();
    const time = room.time(now), at = breathNow(room, now);
    const figures = room.figures, found = figures && figures.synchrony, card = this.card();
    const length = !time ? 0 : time.phase === 'integration' ? card.integrationMs : time.phase === 'preparation' ? card.preparationMs : 0;
    // What stands still does not glide either: it is drawn anew where a number changed.
    const glide = (value, wanted) => (this.stillness ? wanted : value.toward(wanted, seconds));
    return {
      coherence: glide(this.coherence, figures ? figures.average : null),
      synchrony: glide(this.together, found ? found.index : null), chance: found ? found.chanceHigh : null,
      people: Math.round(glide(this.people, Math.max(room.people, room.scored))), scored: room.scored,
      phase: time ? time.phase : 'active', progress: length ? clamp(1 - time.untilPhaseEndMs / length) : 0,
      breath: this.stillness || !at ? 0.85 : at.fill,
      breathTurn: at ? (this.stillness ? Math.floor(at.turn * 4) / 4 : at.turn) : null, time: this.stillness ? STILL_S : seconds,
    };
  }
}
