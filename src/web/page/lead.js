// The facilitator: the pacer, a message to the room, a rest, and the truth about every strap. What is shown
// is what the hub says, never what was wished.

import { Link } from './link.js';
import { HubClock } from './clock.js';
import { Room, levelOf } from './room.js';
import { breathNow } from './figure.js';
import { positionAt, IN, TURN_MS } from './pacer.js';
import { phaseMark } from './charts.js';
import { Truth } from './truth.js';
import { $, put, show, draw, speakAll, tell, make } from './dom.js';
import { save } from './me.js';
import { speak, preferred, say, explain, count, span, oclock, number } from './texts.js';

const TOKEN = 'coherence.lead';
const LOOK_MS = 1000;
const SEND_MS = 300;            // after the last change of the tempo
const REPEAT_MS = [400, 120];   // a button that is held: the first pause and the next ones
const WARN_CHARS = 120;
const QUIET_MS = 2000;
const PAST_MOST = 8;

const room = new Room(), clock = new HubClock(), truth = new Truth();
let card = { integrationMs: 120_000 }, link = null, token = null, wished = null, sending = 0, lookTimer = 0;
const kept = (value) => { try { if (value === undefined) return sessionStorage.getItem(TOKEN); if (value === null) sessionStorage.removeItem(TOKEN); else sessionStorage.setItem(TOKEN, value); } catch (_) { /* for this page only */ } return value; };

async function begin() {
  await speak(preferred());
  speakAll();
  document.title = say('lead.title');
  try { const answer = await fetch('api/room', { cache: 'no-store' }); if (answer.ok) card = await answer.json(); } catch (_) { /* the defaults will do */ }
  token = kept() || null;
  wire();
  link = new Link(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`, clock, hear, (up) => { if (up) enter(); });
  setInterval(refresh, 250);
  if (!token) gate();
  requestAnimationFrame(pacer);
}

function hear(frame) {
  const before = room.session;
  room.hear(frame);
  if (before && !$('desk').hidden && (room.session.id !== before.id || room.session.phase !== before.phase)) past();
  if (frame.type === 'snapshot') {
    if (wished !== null && Math.abs(frame.tempo - wished) < 0.05) wished = null;
  }
  refresh();
}

/* ------------------------------------------------------------------ the door */

function gate(words = '') {
  token = null; kept(null);
  show('desk', false); show('gate', true);
  wrong(words);
  $('pin').focus();
}

function wrong(words) {
  put('pin-say', words); show('pin-say', words !== '');
  $('pin').setAttribute('aria-invalid', String(words !== ''));
}

async function enter() {
  if (!token) return;
  try { await link.ask({ type: 'auth', token }); opened(); } catch (problem) { if (problem.code === 'bad_token') gate(say('lead.expired')); }
}

async function knock() {
  const pin = $('pin').value.trim();
  try {
    const answer = await link.ask({ type: 'auth', pin });
    token = answer.token; kept(token);
    $('pin').value = '';
    opened();
  } catch (problem) {
    const left = /(\d+)\D*$/.exec(problem.message || '');
    if (problem.code === 'pin_locked') wrong(say('lead.pin.locked', { time: span(problem.retryAfterMs || 0) }));
    else if (problem.code === 'wrong_pin') wrong(count('lead.pin.wrong', left ? Number(left[1]) : 0));
    else if (problem.code === 'bad_value') wrong(say('lead.pin'));
    else wrong(explain(problem));
    $('pin').select();
  }
}

function opened() {
  show('gate', false); show('desk', true);
  refresh();
  look();
  past();
}

/* ------------------------------------------------------------------ what is */

function refresh() {
  const lost = link && link.lostAt !== null && performance.now() - link.lostAt > QUIET_MS;
  show('notice', lost && !$('desk').hidden); put('notice', say('link.lost'));
  if ($('desk').hidden) return;
  const time = room.time(clock.now());
  if (time) {
    put('left', span(time.leftMs + 999));
    put('phase', say(`session.${time.phase}`));
    put('then', time.phase === 'active' ? say('lead.then.rest', { time: span(card.integrationMs) }) : say('lead.then.next', { time: oclock(room.session.endsAt) }));
  }
  facts();
  stage();
}

function facts() {
  const figures = room.figures, found = figures && figures.synchrony, level = figures && levelOf(figures.average);
  draw('fact-room', figures ? `${figures.average} ${figures.standardError}` : 'none', () => (figures ? `<span class="p-${level}">${phaseMark(level)}</span> ${number(figures.average)} <small>${figures.standardError === null ? '' : `± ${number(figures.standardError)}`}</small>` : '–'));
  draw('fact-together', found ? `${found.index} ${found.chanceHigh}` : 'none', () => (found ? `${number(Math.round(found.index))} <small>${say('lead.chance', { c: number(Math.ceil(found.chanceHigh)) })}</small>` : '–'));
  put('fact-people', number(room.people));
}

function stage() {
  const now = room.stage, tempo = wished !== null ? wished : now ? now.tempo : 6, plays = now !== null && now.anchor.state === 'playing', rests = now !== null && now.scene === 'rest';
  put('tempo', number(tempo, 1));
  put('tempo-parts', say('lead.tempo.parts', { a: number(60 / tempo * IN, 1), b: number(60 / tempo * (1 - IN), 1) }));
  if (document.activeElement !== $('tempo-range')) $('tempo-range').value = String(tempo);
  put('play', say(plays ? 'lead.pause' : 'lead.start'));
  put('rest', say(rests ? 'lead.rest.end' : 'lead.rest'));
  const message = now && now.message;
  put('message-state', message ? say('lead.shown', { time: span(clock.now() - now.messageAt) }) : say('lead.message.none'));
}

async function look() {
  clearTimeout(lookTimer);
  if (token && !document.hidden) {
    try {
      const answer = await fetch('api/straps', { cache: 'no-store', headers: { Authorization: `Bearer ${token}` } });
      if (answer.ok) {
        const { heard, known } = truth.show(await answer.json());
        draw('fact-heard', `${heard} ${known}`, () => `${number(heard)} <small>${say('lead.of.straps', { n: number(known) })}</small>`);
      } else if (answer.status === 401) { gate(say('lead.expired')); return; }
    } catch (_) { /* the notice says it */ }
  }
  lookTimer = setTimeout(look, LOOK_MS);
}

/* ------------------------------------------------------------------ what one does */

/** Sends a command; what comes of it is the hub's snapshot, and a refusal stands at the control. */
async function command(frame, place) {
  show(place, false);
  try { await link.ask(frame); return true; } catch (problem) {
    const ours = ['offline', 'busy', 'rate_limited'].includes(problem.code) || !problem.message;   // else the hub's own words say more
    put(place, problem.code === 'not_leader' || problem.code === 'forbidden' ? say('lead.refused') : ours ? explain(problem) : problem.message);
    show(place, true);
    return false;
  }
}

function tempo(value) {
  wished = Math.round(Math.min(8, Math.max(4, value)) * 10) / 10;
  stage();
  clearTimeout(sending);
  sending = setTimeout(async () => { const wish = wished; if (!(await command({ type: 'set_tempo', tempo: wish }, 'pacer-refused'))) wished = null; stage(); }, SEND_MS);
}

const present = () => (wished !== null ? wished : room.stage ? room.stage.tempo : 6);

/** A button that repeats while it is held. */
function held(id, act) {
  let timer = 0;
  const again = (wait) => { timer = setTimeout(() => { repeated = true; act(); again(REPEAT_MS[1]); }, wait); };
  const stop = () => clearTimeout(timer);
  let repeated = false;             // the click that ends a long press is not one more step
  $(id).addEventListener('pointerdown', () => { repeated = false; again(REPEAT_MS[0]); });
  for (const event of ['pointerup', 'pointerleave', 'pointercancel']) $(id).addEventListener(event, stop);
  $(id).addEventListener('click', (event) => { if (!repeated || event.detail === 0) act(); repeated = false; });   // 0: by a key
}

/** One breath back or on. */
function seek(breaths) {
  if (!room.stage) return;
  const at = positionAt(room.stage.anchor, clock.now()) + breaths * TURN_MS;
  command({ type: 'seek', positionMs: Math.max(0, Math.round(at)) }, 'pacer-refused');
}

function typed() {
  const length = $('message').value.length;
  show('message-left', length >= WARN_CHARS); put('message-left', say('lead.message.left', { n: 140 - length }));
}

async function past() {
  try {
    const answer = await fetch('api/sessions?limit=20', { cache: 'no-store' });
    if (!answer.ok) return;
    const ended = (await answer.json()).sessions.filter((session) => session.phase === 'complete' && session.scored > 0).slice(0, PAST_MOST);
    show('past-none', ended.length === 0);
    $('past').replaceChildren(...ended.map((session) => {
      const get = make('button', { type: 'button', class: 'button' }, say('lead.export.csv'));
      get.addEventListener('click', () => exported(session));
      return make('li', {}, `${new Date(session.startsAt).toLocaleDateString(document.documentElement.lang)} ${oclock(session.startsAt)}`, get);
    }));
  } catch (_) { /* asked again when the session turns */ }
}

/** A past session's group figures as a table; times in UTC, an empty cell where the room saw none. */
async function exported(session) {
  let answer = null;
  try { answer = await fetch(`api/sessions/${encodeURIComponent(session.id)}`, { cache: 'no-store' }); } catch (_) { /* said below */ }
  show('past-refused', !answer || !answer.ok);
  put('past-refused', explain({ code: answer ? String(answer.status) : 'offline' }));
  if (!answer || !answer.ok) return;
  const { group } = await answer.json(), empty = (value) => (value === null || value === undefined ? '' : value);
  const lines = group.map((p) => [new Date(p.at).toISOString(), empty(p.average), empty(p.standardError), empty(p.peak), p.distribution ? p.distribution.low : '', p.distribution ? p.distribution.medium : '', p.distribution ? p.distribution.high : '', p.participants, p.scored, p.synchrony ? p.synchrony.index : '', p.synchrony ? p.synchrony.chanceHigh : ''].join(','));
  save(`group-${session.id}.csv`, 'text/csv', `at,average,standardError,peak,low,medium,high,participants,scored,synchrony,chanceHigh\r\n${lines.join('\r\n')}\r\n`);
}

function wire() {
  $('pin-form').addEventListener('submit', (event) => { event.preventDefault(); knock(); });
  held('slower', () => tempo(present() - 0.1));
  held('faster', () => tempo(present() + 0.1));
  $('tempo-range').addEventListener('input', (event) => tempo(Number(event.target.value)));
  $('play').addEventListener('click', () => command({ type: room.stage && room.stage.anchor.state === 'playing' ? 'pause' : 'play' }, 'pacer-refused'));
  $('seek-back').addEventListener('click', () => seek(-1));
  $('seek-on').addEventListener('click', () => seek(1));
  $('message').addEventListener('input', typed);
  $('show-message').addEventListener('click', async () => { if (await command({ type: 'update_message', message: $('message').value.trim() }, 'message-refused')) tell(say('lead.shown', { time: '0:00' })); });
  $('clear-message').addEventListener('click', () => { $('message').value = ''; typed(); command({ type: 'update_message', message: '' }, 'message-refused'); });
  $('ready').replaceChildren(...[1, 2, 3].map((n) => { const button = make('button', { type: 'button', class: 'button' }, say(`lead.ready.${n}`)); button.addEventListener('click', () => { $('message').value = say(`lead.ready.${n}`); typed(); $('message').focus(); }); return button; }));
  $('rest').addEventListener('click', () => { if (room.stage && room.stage.scene === 'rest') command({ type: 'play' }, 'session-refused'); else { show('rest-ask', true); $('rest-no').focus(); } });
  $('rest-no').addEventListener('click', () => { show('rest-ask', false); $('rest').focus(); });
  $('rest-yes').addEventListener('click', async () => { show('rest-ask', false); $('rest').focus(); await command({ type: 'pause', scene: 'rest' }, 'session-refused'); });
  document.addEventListener('visibilitychange', () => { if (!document.hidden && !$('desk').hidden) look(); });
}

/* ------------------------------------------------------------------ the small picture of the breath */

function pacer() {
  requestAnimationFrame(pacer);
  if ($('desk').hidden) return;
  const g = $('pacer').getContext('2d'), css = getComputedStyle(document.documentElement), color = (name) => css.getPropertyValue(name).trim();
  const at = breathNow(room, clock.now()), middle = 96;
  const circle = (radius, width, stroke) => { g.lineWidth = width; g.strokeStyle = stroke; g.beginPath(); g.arc(middle, middle, radius, 0, 7); g.stroke(); };
  g.clearRect(0, 0, 192, 192);
  circle(87, 3, color('--control'));
  circle(33 + 45 * (at ? at.fill : 0.5), 4.5, color(at ? '--accent' : '--lost'));
  if (!at) return;
  const turn = (at.turn + 0.25) * 2 * Math.PI;
  g.fillStyle = color('--accent'); g.beginPath(); g.arc(middle + 87 * Math.cos(turn), middle + 87 * Math.sin(turn), 7.5, 0, 7); g.fill();
}

begin();
