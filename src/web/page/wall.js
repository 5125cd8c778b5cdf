// The wall: opened once and left for years. What everybody in the room may see, readable from ten
// metres; no number of a single heart, nothing to press.

import { Link } from './link.js';
import { HubClock } from './clock.js';
import { Room, levelOf } from './room.js';
import { Figure, breathWord } from './figure.js';
import { phaseMark, distribution, synchrony } from './charts.js';
import { $, put, show, draw } from './dom.js';
import { speak, say, count, span, number } from './texts.js';

const GONE_MS = 10_000;          // without the hub nothing on the wall is true any more
const CURSOR_MS = 3000;
const LONG_MESSAGE = 90;         // characters; a longer one is set smaller
const DOTS_MOST = 60;            // more hearts than dots that can be told apart: one dot stands for several
const DRIFT_PX = [[0, 0], [8, 0], [8, 8], [0, 8]];

const room = new Room(), clock = new HubClock();
const figure = new Figure('figure', 'over', room, clock, () => card, { dark: true, box: true, keyHz: 5, radius: 0.41, centre: [0.5, 0.468] });
let card = null, wasUp = false;

const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;

async function begin() {
  card = await ask();
  await speak(card.language);
  document.title = say('join.title');
  invitation();
  const link = new Link(url, clock, (frame) => { room.hear(frame); refresh(); }, (up) => { if (up && wasUp) again(); wasUp = wasUp || up; });
  const tick = () => {
    const lost = link.lostAt !== null && performance.now() - link.lostAt > GONE_MS;
    document.body.classList.toggle('gone', lost);
    show('notice', lost);
    refresh(lost);
  };
  setInterval(tick, 250);
  setInterval(breathe, 100);
  tick();
}

/** What the hub says of the room; asked again until it answers. */
async function ask() {
  for (;;) {
    try {
      const answer = await fetch('api/room', { cache: 'no-store' });
      if (answer.ok) return await answer.json();
    } catch (_) { /* not there yet */ }
    await new Promise((done) => setTimeout(done, 2000));
  }
}

/** Connected again: an updated hub has a new page. */
async function again() {
  const now = await ask();
  if (now.version !== card.version || now.language !== card.language) location.reload();
  card = now;
  invitation();
}

function invitation() {
  const { wifiName, address } = card;
  show('wifi', wifiName !== null);
  show('page', address !== null);
  const fresh = `?${Date.now()}`;
  if (wifiName !== null) {
    $('wifi-code').src = `api/room/wifi.svg${fresh}`; $('wifi-code').alt = say('wall.wifi.alt', { name: wifiName });
    put('wifi-title', say('wall.wifi')); put('wifi-name', wifiName);
  }
  if (address !== null) {
    $('page-code').src = `api/room/page.svg${fresh}`; $('page-code').alt = say('wall.page.alt', { address });
    put('page-title', say(wifiName !== null ? 'wall.page' : 'wall.page.only')); put('page-address', address.replace(/\/$/, ''));
  }
}

/** Everything but the figure. */
function refresh(lost = false) {
  put('notice', say('wall.gone'));
  const now = clock.now(), time = room.time(now);
  const scored = room.scored, few = scored < card.minGroup, empty = room.people === 0 && scored === 0;
  document.body.classList.toggle('invite', few || (time !== null && time.phase === 'preparation'));
  drawTime(time, empty);
  const message = room.stage && !lost ? room.stage.message || '' : '';
  put('message', message);
  document.body.classList.toggle('says', message !== '');
  $('message').classList.toggle('long', message.length > LONG_MESSAGE);
  drawPeople(empty);
  drawGroup(few, empty);
  figure.of(room.session ? room.session.id : null);
}

function drawTime(time, empty) {
  show('clock', time !== null); show('strip', time !== null);
  if (!time) { put('phase', say('link.first')); return; }
  const [before, after] = say('session.left', { time: '\n' }).split('\n');
  put('before-left', before); put('left', span(time.leftMs + 999)); put('after-left', after);
  put('phase', empty ? say('session.open') : say(`session.${time.phase}`));
  const length = room.session.endsAt - room.session.startsAt;
  const parts = { prep: card.preparationMs, int: card.integrationMs, act: length - card.preparationMs - card.integrationMs };
  for (const id of Object.keys(parts)) $(id).style.flex = `${parts[id]} 0 0`;
  $('hand').style.left = `${(time.share * 100).toFixed(2)}%`;
  // Against burn-in: all moves a little from session to session.
  const [x, y] = DRIFT_PX[Math.round(room.session.startsAt / length) % DRIFT_PX.length];
  $('main').style.transform = `translate(${x}px, ${y}px)`;
}

function drawPeople(empty) {
  const words = (key, n) => count(key, n).replace(number(n), `<b>${number(n)}</b>`);
  show('people', !empty);
  const lines = (room.people > 0 ? [['group.people', room.people]] : []).concat([['group.heard', room.scored]]);
  draw('people', lines.join(), () => lines.map(([key, n]) => words(key, n)).join('<br>'));
}

function drawGroup(few, empty) {
  const figures = room.figures, word = figures ? levelOf(figures.average) : null;
  show('room-title', figures !== null); put('room-title', say('group.title'));
  show('value', figures !== null);
  show('why', figures === null);
  $('word').className = figures ? `word p-${word}` : 'word';
  if (figures) {
    draw('word', word, () => `${phaseMark(word)}${say(`phase.${word}`)}`);
    put('average', number(figures.average));
    put('give', figures.standardError === null || figures.standardError === undefined ? say('group.give.none') : say('group.give', { e: number(figures.standardError) }));
  } else {
    const words = !room.session ? ['link.first', null] : empty ? ['group.empty', 'group.empty.how'] : few ? ['group.few', 'group.few.why'] : ['phase.none', 'no.warming_up.do'];
    const text = words[0] === 'group.few' ? count('group.few', room.scored, { of: number(card.minGroup) }) : say(words[0]);
    draw('word', text, () => text);
    put('why', words[1] ? say(words[1], { of: number(card.minGroup) }) : '');
  }
  drawSpread(figures);
  drawTogether(figures);
}

function drawSpread(figures) {
  const spread = figures && figures.distribution;
  show('spread', Boolean(spread));
  show('spread-few', figures !== null && !spread); put('spread-few', say('group.spread.few', { of: number(card.minDistribution) }));
  if (!spread) return;
  for (const name of ['low', 'medium', 'high']) { put(name, number(spread[name])); put(`${name}-word`, say(`group.spread.${name}`)); }
  const all = spread.low + spread.medium + spread.high, each = Math.max(1, Math.ceil(all / DOTS_MOST));
  const part = (n) => Math.round(n / each);
  draw('dots', JSON.stringify(spread), () => distribution({ low: part(spread.low), medium: part(spread.medium), high: part(spread.high), size: all > 30 ? 16 : 22, perRow: all > 30 ? 14 : 10 }));
}

/** Synchrony is always drawn on the band that chance gives, and inside of it is no news. */
function drawTogether(figures) {
  show('together', figures !== null);
  if (!figures) return;
  put('together-title', say('group.together'));
  const found = figures.synchrony;
  show('chance', found !== null);
  if (found === null) { put('together-word', say('group.together.none')); return; }
  const n = Math.round(found.index), c = Math.ceil(found.chanceHigh);
  put('together-word', say(n > c ? 'group.beyond' : 'group.chance', { n: number(n), c: number(c) }));
  draw('chance', `${n} ${c}`, () => synchrony({ value: n, chance: c }));
}

function breathe() {
  const word = breathWord(room, clock.now());
  put('breath', word ? say(word) : '');
}

let resting = 0;
const awake = () => { document.body.classList.remove('resting'); clearTimeout(resting); resting = setTimeout(() => document.body.classList.add('resting'), CURSOR_MS); };
addEventListener('pointermove', awake);
awake();
setInterval(() => figure.redraw(), 1000);
window.room = { room, clock, figure };   // for those who measure
begin();
