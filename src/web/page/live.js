// The session on the phone, top to bottom: phase and time left, figure with breath, my heart, my curve, my
// part, the room. Numbers in words and on scales; where there is none, the reason and what to do.

import { $, put, show, draw, tell } from './dom.js';
import { levelOf } from './room.js';
import { Figure, breathNow, breathWord } from './figure.js';
import { gapsOf } from './heart.js';
import { strapName } from './straps.js';
import { phaseMark, scale, trend, FLOOR } from './charts.js';
import * as sound from './sound.js';
import { say, count, span, number } from './texts.js';

const BEAT_DELAY_MS = 2000;     // straps speak once a second: a fixed delay keeps the rhythm of the beats
const BEAT_MS = 160;
const SILENT_MS = 5000;
const HELD_MS = 15_000;         // a word that held for so long is worth saying
const PER_SCORE = 8.35;         // standard error of one score, points (all hearts)

export class Live {
  constructor(state) {
    this.state = state;          // {room, clock, heart, card(), lost(), strap()}
    this.spoken = { phase: null, word: null, since: 0, said: null, reason: undefined };
    this.figure = new Figure('figure', 'over', state.room, state.clock, state.card, { detail: 0.5, renderer: '2d', radius: 0.462, ring: true });
    $('say-score').addEventListener('click', () => tell(this.sentence()));
  }

  begin() { this.timers = [setInterval(() => this.draw(), 250), setInterval(() => this.breathe(), 50), setInterval(() => this.figure.redraw(), 1000)]; this.draw(); }
  end() { (this.timers || []).forEach(clearInterval); this.figure.of(null); this.figure.paint(null); sound.breathe(null); }

  draw() {
    const { room, clock } = this.state, now = clock.now();
    this.figure.of(room.session ? room.session.id : null);
    this.time(room.time(now));
    this.message(room.stage ? room.stage.message || '' : '');
    this.mine(now);
    this.curve();
    this.part();
    this.group();
  }

  time(time) {
    if (!time) { put('phase', say('link.first')); put('left', ''); put('left-word', ''); return; }
    const [before, after] = say('session.left', { time: '\n' }).split('\n');
    put('left', span(time.leftMs + 999)); put('left-word', `${before}${after}`.trim());
    put('phase', say(`session.${time.phase}`));
    if (this.spoken.phase !== time.phase) {
      if (this.spoken.phase !== null) { tell(say(`session.${time.phase}`)); sound.bowl(time.phase); }
      this.spoken.phase = time.phase;
    }
  }

  breathe() {
    const { room, clock } = this.state, now = clock.now(), word = breathWord(room, now);
    put('breath', word ? say(word) : '');
    sound.breathe(breathNow(room, now));
  }

  message(text) {
    show('message', text !== '');
    put('message', text);
  }

  /** A beat of mine, shown with its own rhythm. */
  beat(frame) {
    const now = this.state.clock.now();
    if (now === null) return;
    const wait = frame.at + BEAT_DELAY_MS - now;
    if (wait < 0 || wait > 2 * BEAT_DELAY_MS) return;
    setTimeout(() => { $('beat').classList.add('now'); setTimeout(() => $('beat').classList.remove('now'), BEAT_MS); }, wait);
  }

  mine(now) {
    const { heart, lost } = this.state, gone = lost(), feedback = heart.now;
    const silence = heart.silence(now), rate = heart.rate(now), quiet = silence !== null && silence > SILENT_MS;
    $('beat').classList.toggle('quiet', quiet || gone || rate === null);
    put('rate', gone ? (silence === null ? '' : say('me.last', { time: span(silence) })) : rate !== null ? say('me.bpm', { n: number(Math.round(rate)) }) : quiet ? say('me.silent', { time: span(silence) }) : '');
    const strap = feedback ? feedback.strap : this.state.strap();
    show('beat', gone || !feedback || feedback.reason !== 'no_strap');
    put('my-strap', strap ? strapName(strap) : say('menu.strap.none'));
    const score = !gone && feedback && feedback.score !== null ? feedback : null;
    const reason = gone ? null : feedback ? feedback.reason : heart.feedback ? 'hub' : 'wait';
    $('mine').classList.toggle('lost', !score);
    show('have', score !== null || gone);
    show('reason', !score && !gone);
    if (score) this.score(score);
    else if (gone) { put('score', '–'); put('give', ''); put('word', say('me.hub.gone')); draw('mark', 'none', () => phaseMark('none')); $('word').parentNode.className = 'word p-none'; }
    else this.why(reason, feedback);
    const drawn = score ? `${Math.round(score.score)} ${score.standardError === null ? '' : Math.round(score.standardError)}` : 'none';
    draw('scale', drawn, () => scale(score ? { score: score.score, error: score.standardError } : { score: null }));
    put('floor', gone ? say('me.hub.gone.help') : `${score ? say(`phase.${levelOf(score.score)}.means`) : ''} ${say('me.floor', { n: FLOOR })}`.trim());
    show('floor', gone || score !== null);
    if (score || gone) for (const id of ['todo', 'after', 'choose-pair']) show(id, false);
  }

  score(feedback) {
    const level = levelOf(feedback.score), n = Math.round(feedback.score);
    put('score', number(n));
    put('give', feedback.standardError === null ? '' : say('me.give', { e: number(Math.round(feedback.standardError)) }));
    put('word', say(`phase.${level}`));
    draw('mark', level, () => phaseMark(level));
    $('word').parentNode.className = `word p-${level}`;
    const { spoken } = this, at = performance.now();
    if (spoken.word !== level) { spoken.word = level; spoken.since = at; }
    if (spoken.said === null) spoken.said = level;
    if (spoken.said !== level && at - spoken.since > HELD_MS) { spoken.said = level; tell(say(`phase.${level}`)); }
    if (spoken.reason && spoken.reason !== 'warming_up') tell(say('me.score.back'));
    spoken.reason = null;
  }

  /** No score: why, what to do, and what comes then. */
  why(reason, feedback) {
    if (reason === 'wait' || reason === 'hub' || !reason) { put('reason', say('phase.none')); for (const id of ['todo', 'after', 'choose-pair']) show(id, false); return; }
    const time = span((feedback.leftMs || 0) + 999);
    put('reason', `${say('no.title')} ${say(`no.${reason}`, { time })}`);
    const early = feedback.early, steps = say(`no.${reason}.do`, { time }).split(' | ');
    show('todo', true);
    draw('todo', steps.join('|'), () => '');
    if ($('todo').childElementCount !== steps.length || $('todo').textContent !== steps.join('')) $('todo').replaceChildren(...steps.map((step) => { const item = document.createElement('li'); item.textContent = step; return item; }));
    $('todo').classList.toggle('one', steps.length === 1);
    const needsHand = reason === 'silent' || reason === 'off_body' || reason === 'poor_signal';
    show('after', needsHand || Boolean(early));
    put('after', early ? say('me.early', { n: number(Math.round(early.score)), e: number(Math.round(early.standardError)) }) : say('no.after'));
    show('choose-pair', needsHand || reason === 'no_strap');
    put('choose', say(reason === 'no_strap' ? 'no.choose.first' : 'no.choose'));
    if (this.spoken.reason !== reason) { if (this.spoken.reason !== undefined && reason !== 'warming_up') tell($('reason').textContent); this.spoken.reason = reason; }
  }

  curve() {
    const { room, heart, clock } = this.state, session = room.session, now = clock.now();
    if (!session || now === null) return;
    const s = (at) => (at - session.startsAt) / 1000, card = this.state.card();
    const key = `${session.id} ${heart.points.length} ${Math.floor(s(now) / 5)}`;
    draw('curve', key, () => trend({
      points: heart.points.map(([at, score, error]) => [s(at), score, error]), from: 0, to: s(session.endsAt), h: 66,
      gaps: gapsOf(heart.points, session.startsAt, now).map(([a, b]) => [s(a), s(b)]),
      phases: [card.preparationMs / 1000, s(session.endsAt - card.integrationMs)],
    }));
    put('trend-word', this.direction());
  }

  direction() {
    const trending = this.state.heart.now && this.state.heart.now.trend;
    if (!trending) return say('me.session');
    const sure = Math.abs(trending.perMin) > 1.645 * trending.standardError;
    return say(!sure ? 'me.steady' : trending.perMin > 0 ? 'me.rising' : 'me.falling');
  }

  part() {
    const { heart, room, lost, card } = this.state, mine = heart.now && heart.now.contribution, n = Math.max(1, room.scored), least = card().minGroup;
    if (lost() || mine === null || mine === undefined) { put('part-words', n < least ? say('me.part.few', { of: number(least) }) : say('me.part.none')); put('part', lost() ? '–' : ''); return; }
    const level = Math.abs(mine) < PER_SCORE / n / 2;
    put('part-words', say(level ? 'me.level.word' : mine > 0 ? 'me.lift.word' : 'me.carried.word'));
    draw('part', level ? 'level' : Math.abs(mine).toFixed(1), () => (level ? say('me.level.value') : `${number(Math.abs(mine), 1)} <small>${say('me.points')}</small>`));
  }

  group() {
    const { room, lost, card } = this.state, figures = lost() ? null : room.figures, least = card().minGroup;
    put('room-words', room.scored < least ? count('group.few', room.scored, { of: number(least) }) : count('group.room', room.scored));
    const level = figures && levelOf(figures.average);
    draw('room-value', figures ? `${figures.average} ${level}` : 'none', () => (figures ? `${number(figures.average)} <small>${say(`phase.${level}`).toLowerCase()}</small>` : '–'));
  }

  /** My score as one sentence, for those who ask. */
  sentence() {
    const feedback = this.state.heart.now;
    if (!feedback || feedback.score === null) return $('reason').textContent || say('phase.none');
    const n = number(Math.round(feedback.score));
    const e = feedback.standardError === null ? n : say('me.score', { n, e: number(Math.round(feedback.standardError)) });
    return `${e}, ${say(`phase.${levelOf(feedback.score)}`)}. ${this.direction()}.`;
  }
}
