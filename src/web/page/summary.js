// A session that ended, told quietly: my curve and the room's, time in each rhythm. It stays until its person leaves it.

import { $, put, show, draw } from './dom.js';
import { Figure } from './figure.js';
import { levelOf } from './room.js';
import { gapsOf } from './heart.js';
import { trend, phaseMark } from './charts.js';
import { say, count, number } from './texts.js';

const GRID_MS = 5000;

export class Summary {
  constructor(state) {
    this.state = state;
    this.figure = new Figure('end-figure', null, state.room, state.clock, state.card, { detail: 0.5, renderer: '2d', radius: 0.46, ring: false });
    this.figure.calm = true;
  }

  /** Shows a session: its own points of me, its group's series from the hub where that answers. */
  async show(session, points) {
    this.session = session; this.points = points; this.group = [];
    this.figure.state = () => this.last();
    this.figure.of(session.id);
    this.draw();
    try {
      const answer = await fetch(`api/sessions/${encodeURIComponent(session.id)}`, { cache: 'no-store' });
      if (answer.ok && this.session === session) { this.group = (await answer.json()).group; this.draw(); this.figure.redraw(); }
    } catch (_) { /* then only my own */ }
  }

  end() { this.figure.paint(null); this.session = null; }

  /** The figure as it stood at the end. */
  last() {
    const figures = this.group.filter((point) => point.average !== null), end = figures[figures.length - 1];
    const found = end && end.synchrony;
    return { coherence: end ? end.average : null, synchrony: found ? found.index : null, chance: found ? found.chanceHigh : null, people: end ? Math.max(end.participants, end.scored) : 0, scored: end ? end.scored : 0, phase: 'complete', progress: 1, breath: 0.9, breathTurn: null, time: 60 };
  }

  draw() {
    const { session, points } = this, s = (at) => (at - session.startsAt) / 1000, length = s(session.endsAt);
    const most = this.group.reduce((all, point) => Math.max(all, point.participants), session.participants);
    put('thanks', most > 1 ? count('end.thanks', most - 1) : say('end.thanks.alone'));
    const card = this.state.card();
    $('end-curve').innerHTML = trend({
      points: points.map(([at, score, error]) => [s(at), score, error]), group: this.group.map((point) => [s(point.at), point.average]), to: length, h: 148,
      gaps: gapsOf(points, session.startsAt, session.endsAt).map(([a, b]) => [s(a), s(b)]), phases: [card.preparationMs / 1000, length - card.integrationMs / 1000],
    });
    const minutes = length / 60, marks = [0, 1, 2, 3].map((n) => minutes * n / 3);
    draw('axis', String(minutes), () => marks.map((m, n) => `<span>${number(Math.round(m))}${n === 3 ? ` ${say('end.min')}` : ''}</span>`).join(''));
    put('end-words', this.words());
    this.times();
  }

  words() {
    const ends = (series) => {
      const values = series.filter((v) => v !== null), mean = (part) => Math.round(part.reduce((a, b) => a + b, 0) / part.length);
      return values.length < 6 ? null : { a: number(mean(values.slice(0, 6))), b: number(mean(values.slice(-6))) };
    };
    const mine = ends(this.points.map((point) => point[1])), room = ends(this.group.map((point) => point.average));
    return `${mine ? say('end.words', mine) : say('end.words.none')} ${room ? say('end.words.room', room) : ''}`.trim();
  }

  times() {
    const spent = { low: 0, medium: 0, high: 0, none: 0 };
    for (const [, score] of this.points) spent[score === null ? 'none' : levelOf(score)] += GRID_MS;
    show('times-card', this.points.length > 0);
    const told = (ms) => say('end.minutes', { m: number(Math.floor(ms / 60_000)), s: String(Math.round(ms / 1000) % 60).padStart(2, '0') });
    draw('times', JSON.stringify(spent), () => Object.keys(spent).map((name) => `<li class="p-${name}"><span class="m" aria-hidden="true">${phaseMark(name)}</span><b>${say(`phase.${name}`)}</b><em>${told(spent[name])}</em></li>`).join(''));
  }
}
