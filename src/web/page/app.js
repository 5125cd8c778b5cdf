// The room's page: what the hub says, drawn. The clock is computed from the session's end and the
// hub's time whenever it is drawn; nothing is counted down.

import { Link, HubClock } from './link.js';
import { Straps } from './straps.js';
import { say, count, span, oclock } from './texts.js';

const $ = (id) => document.getElementById(id);
const put = (id, text) => { const node = $(id); if (node.textContent !== text) node.textContent = text; };

const QUIET_MS = 2000;          // a line that is lost for so long is nobody's business
const STALE_MS = 12_000;        // two grid points without news
const GONE_MS = 120_000;        // then a figure says nothing any more
const HELD_MS = 15_000;         // a word that held for so long is worth saying

const MARKS = {
  low: '<path d="M2 13c2-6 4-6 5-1s3 2 4-4 3-3 4 3 3 7 5 1 3-6 5-2 3 5 5 3"/>',
  medium: '<path d="M2 12c2.5-7 5-7 7 0s4.5 6 6.5 0 4-5.5 6-.5 4 7.5 8.5-1"/><path d="M2 20.5h28" stroke-width="1.5" stroke-dasharray="3 4"/>',
  high: '<path d="M2 12c2.33-8 4.67-8 7 0s4.67 8 7 0 4.67-8 7 0 4.67 8 7 0"/><path d="M2 20.5h28" stroke-width="1.5"/>',
};

const level = (score) => (score < 40 ? 'low' : score < 60 ? 'medium' : 'high');

let session = null, group = null, groupAt = null;
let spoken = { phase: null, word: null, wordSince: null, wordSaid: null };
let wasLost = false, noticeTimer = 0, drawTimer = 0;

const clock = new HubClock();
const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;
const link = new Link(url, clock, hear, (up) => { if (up && wasLost) back(); draw(); });
new Straps(tell);

function hear(frame) {
  if (frame.type === 'session_state') session = frame.session;
  if (frame.type === 'group_metrics_update') {
    group = frame; groupAt = performance.now();
    if (session && session.id === frame.sessionId) session = { ...session, participants: frame.participants, scored: frame.scored };
  }
  if (frame.type === 'participant_update' && session) session = { ...session, participants: frame.participants };
  draw();
}

/** For those who listen instead of looking. */
function tell(text) { $('say').textContent = text; }

function back() {
  wasLost = false;
  notice(say('link.back'));
  noticeTimer = setTimeout(() => notice(''), 4000);
}

function notice(text) {
  clearTimeout(noticeTimer);
  noticeTimer = 0;
  put('notice', text);
  $('notice').hidden = text === '';
}

function draw() {
  clearTimeout(drawTimer);
  drawLink();
  const left = drawTime();
  drawPeople();
  drawGroup();
  // Again when the next second of the clock begins.
  if (!document.hidden) drawTimer = setTimeout(draw, left === null ? 250 : Math.max(20, (left % 1000) + 5));
}
document.addEventListener('visibilitychange', draw);

function drawLink() {
  const lost = link.lostAt !== null && performance.now() - link.lostAt > QUIET_MS;
  if (lost && session) { wasLost = true; notice(say('link.lost')); }
}

/** Returns what is left of the session in ms, or null. */
function drawTime() {
  const now = clock.now();
  if (!session || now === null) return null;
  const left = Math.max(0, session.endsAt - now);
  const over = left === 0 || session.phase === 'complete';
  const phase = over ? 'complete' : session.phase;
  put('left', over ? '' : span(left + 999));
  $('left-word').hidden = over;
  put('phase', say(`session.${phase}`));
  put('next', {
    preparation: () => say('session.until.preparation', { time: span(session.phaseEndsAt - now + 999) }),
    active: () => say('session.until.active', { time: oclock(session.phaseEndsAt) }),
  }[phase]?.() ?? say('session.next', { time: oclock(session.endsAt) }));
  const length = session.endsAt - session.startsAt;
  const share = Math.min(1, Math.max(0, (now - session.startsAt) / length));
  $('elapsed').style.strokeDasharray = `${(share * 1000).toFixed(2)} 1000`;
  turn('hand', share);
  turn('edge', (session.phaseEndsAt - session.startsAt) / length);
  if (spoken.phase !== phase) {
    if (spoken.phase !== null) tell(say(`session.${phase}`));
    spoken.phase = phase;
  }
  return over ? null : left;
}

const turn = (id, share) => $(id).setAttribute('transform', `rotate(${(share * 360).toFixed(2)} 150 150)`);

function drawPeople() {
  const people = session ? session.participants : 0, hearts = session ? session.scored : 0;
  put('people', String(people)); put('people-word', count('group.people', people));
  put('hearts', String(hearts)); put('hearts-word', count('group.hearts', hearts));
  // Equal beads on the rim, none of them marked.
  const beads = $('beads'), n = Math.min(people, 72);
  if (beads.childElementCount === n) return;
  beads.innerHTML = Array.from({ length: n }, (_, i) => {
    const turn = 2 * Math.PI * (i + 0.5) / n - Math.PI / 2;
    return `<circle class="bead" cx="${(150 + 143 * Math.cos(turn)).toFixed(1)}" cy="${(150 + 143 * Math.sin(turn)).toFixed(1)}" r="${n > 36 ? 1.8 : 2.6}"/>`;
  }).join('');
}

function drawGroup() {
  const age = groupAt === null ? null : performance.now() - groupAt;
  const stale = age !== null && age > STALE_MS;
  const gone = age === null || age > GONE_MS;
  const shown = !gone && group.average !== null;
  document.querySelector('.room').classList.toggle('stale', stale);
  $('age').hidden = !stale;
  if (stale) put('age', say('age', { time: span(age) }));
  $('figures').hidden = !shown;
  $('why').hidden = shown;
  document.documentElement.dataset.level = shown ? level(group.average) : 'none';
  document.documentElement.style.setProperty('--level', shown ? `var(--${level(group.average)})` : 'var(--text-3)');
  if (gone) { put('why-title', say('link.first')); put('why-text', say('link.first.why')); }
  else if (!shown && group.scored === 0) { put('why-title', say('group.none')); put('why-text', say('group.none.why')); }
  else if (!shown) { put('why-title', count('group.few', group.scored)); put('why-text', say('group.few.why')); }
  else drawFigures();
  drawSpread(shown);
  drawTogether(shown);
}

function drawFigures() {
  const word = level(group.average);
  const error = group.standardError;   // null: one of the scores has none
  put('word', say(`phase.${word}`));
  put('average', String(group.average));
  put('give', error === null ? '' : say('group.give', { e: error }));
  $('bar-why').hidden = error !== null;
  put('bar-why', say('group.give.none'));
  put('means', say(`room.${word}.means`));
  $('peak').hidden = group.peak === null;
  if (group.peak !== null) put('peak', say('group.peak', { n: group.peak }));
  const drawn = `${group.average} ${error}`;
  if ($('scale').dataset.drawn !== drawn) {
    $('scale').dataset.drawn = drawn;
    $('scale').innerHTML = scale(group.average, error);
    $('mark').innerHTML = MARKS[word];
  }
  const now = performance.now();
  if (spoken.word !== word) { spoken.word = word; spoken.wordSince = now; }
  if (spoken.wordSaid === null) spoken.wordSaid = word;
  if (spoken.wordSaid !== word && now - spoken.wordSince > HELD_MS) { spoken.wordSaid = word; tell(say(`phase.${word}`)); }
}

/** 0 to 100 with its two borders, and the average as a mark inside its error bar, where it has one. */
function scale(average, error) {
  const x = (v) => 6 + 3.28 * v, f = (v) => v.toFixed(1);
  const piece = (a, b, name) => `<rect class="seg-${name}" x="${f(x(a) + (a ? 1.5 : 0))}" y="13" width="${f(x(b) - x(a) - (a ? 1.5 : 0) - (b < 100 ? 1.5 : 0))}" height="6" rx="3"/>`;
  const from = f(x(Math.max(0, average - error))), to = f(x(Math.min(100, average + error)));
  const bar = error === null ? '' : `<path class="span" d="M${from} 16H${to}M${from} 9v14M${to} 9v14"/>`;
  const numbers = [0, 40, 60, 100].map((v) => `<text class="num" x="${f(x(v))}" y="42" text-anchor="${v === 0 ? 'start' : v === 100 ? 'end' : 'middle'}">${v}</text>`).join('');
  return `<svg viewBox="0 0 340 46" focusable="false">${piece(0, 40, 'low')}${piece(40, 60, 'medium')}${piece(60, 100, 'high')}${numbers}${bar}<circle class="dot" cx="${f(x(average))}" cy="16" r="4.5"/></svg>`;
}

function drawSpread(shown) {
  $('spread').hidden = !shown;
  if (!shown) return;
  const spread = group.distribution;
  $('levels').hidden = spread === null;
  $('spread-why').hidden = spread !== null;
  put('spread-why', say('group.spread.few'));
  if (spread === null) return;
  const most = Math.max(1, spread.low + spread.medium + spread.high);
  for (const name of ['low', 'medium', 'high']) {
    const item = $('levels').querySelector(`.${name}`), n = spread[name];
    item.querySelector('.bar i').style.width = `${(100 * n / most).toFixed(1)}%`;
    const number = item.querySelector('b');
    if (number.textContent !== String(n)) number.textContent = String(n);
  }
}

/** Synchrony is always drawn on the band that chance gives, and inside of it is no news. */
function drawTogether(shown) {
  $('together').hidden = !shown;
  if (!shown) return;
  const synchrony = group.synchrony;
  $('chance').hidden = synchrony === null;
  if (synchrony === null) { put('together-word', say('group.together.none')); return; }
  const n = Math.round(synchrony.index), c = Math.ceil(synchrony.chanceHigh), beyond = n > c;
  put('together-word', say(beyond ? 'group.beyond' : 'group.chance', { n, c }));
  const drawn = `${n} ${c}`;
  if ($('chance').dataset.drawn === drawn) return;
  $('chance').dataset.drawn = drawn;
  $('chance').className = beyond ? 'beyond' : '';
  $('chance').innerHTML = band(n, c);
}

/** 0 to 100, hatched as far as chance goes, with the index as a dot at the end of its bar. */
function band(index, chance) {
  const x = (v) => 6 + 3.28 * v, f = (v) => v.toFixed(1), w = (v) => f(3.28 * v);
  return '<svg viewBox="0 0 340 32" focusable="false"><defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="hatch" d="M0 0V6"/></pattern></defs>'
    + `<rect class="rail" x="6" y="13" width="${w(100)}" height="6" rx="3"/><rect fill="url(#hatch)" x="6" y="5" width="${w(chance)}" height="22"/><path class="tick" d="M${f(x(chance))} 3v26"/>`
    + `<rect class="reach" x="6" y="13" width="${w(index)}" height="6" rx="3"/><circle class="dot" cx="${f(x(index))}" cy="16" r="5.5"/></svg>`;
}

draw();
