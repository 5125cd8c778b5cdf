// The phone: joins, stays, heals by itself, and says so. Which view stands is decided here; what it shows, there.

import { Link } from './link.js';
import { HubClock } from './clock.js';
import { Room } from './room.js';
import { Heart } from './heart.js';
import { Join } from './join.js';
import { Live } from './live.js';
import { Claim } from './claim.js';
import { Summary } from './summary.js';
import { StrapList, strapName } from './straps.js';
import { dataBlock } from './mydata.js';
import { remembered, remember, myData } from './me.js';
import { $, put, show, speakAll, openSheet, tell, make } from './dom.js';
import { speak, preferred, choose, languages, language, say, explain } from './texts.js';
import { Figure } from './figure.js';
import * as sound from './sound.js';
import * as awake from './awake.js';

const QUIET_MS = 2000;          // a line that is lost for so long is nobody's business
const BACK_MS = 4000;
const AGAIN_MS = 5000;          // a return that the hub refused is tried again
const SHARED = 'coherence.shared', CALM = 'coherence.calm', LEFT = 'coherence.left';

const stored = (key) => { try { return localStorage.getItem(key) === 'yes'; } catch (_) { return false; } };
const store = (key, on) => { try { localStorage.setItem(key, on ? 'yes' : 'no'); } catch (_) { /* then it holds for this page */ } };

const room = new Room(), clock = new HubClock(), heart = new Heart();
let card = { preparationMs: 30_000, integrationMs: 120_000, roomCode: false, wifiName: null, minGroup: 3 };
let me = remembered(), left = stored(LEFT), strap = null, view = null, joined = false, ended = null, wasLost = false, noticeTimer = 0, againTimer = 0;
let link = null, join = null, live = null, claim = null, summary = null, waitingImage = null;
const lost = () => link !== null && link.lostAt !== null && performance.now() - link.lostAt > QUIET_MS;
const state = { room, clock, heart, card: () => card, lost, strap: () => strap };

async function begin() {
  await speak(preferred());
  speakAll();
  document.title = say('join.title');
  try { const answer = await fetch('api/room', { cache: 'no-store' }); if (answer.ok) card = await answer.json(); } catch (_) { /* the defaults will do */ }
  roomCodeFromAddress();
  live = new Live(state);
  live.figure.calm = stored(CALM);
  summary = new Summary(state);
  waitingImage = new Figure('join-figure', null, room, clock, () => card, { detail: 0.5, renderer: '2d', radius: 0.46, ring: false });
  join = new Join({ go: enter, find: findFromJoin, anew, read, speak: change });
  claim = new Claim({ ask: (frame) => link.ask(frame), clock, done: (label) => { strap = label; open('live'); } });
  wire();
  link = new Link(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`, clock, hear, (up) => { if (up) connected(); watch(); });
  setInterval(watch, 500);
  if (!me || left) open('join');
}

/** The code that the wall's QR code carries behind the `#`: kept here, and out of sight. */
function roomCodeFromAddress() {
  const found = /[#&]code=([^&]*)/.exec(location.hash);
  if (!found) return;
  try { $('room-code').value = decodeURIComponent(found[1]); } catch (_) { /* not as the hub writes it: it is asked for */ }
  history.replaceState(null, '', location.pathname);
}

/* ------------------------------------------------------------------ frames */

function hear(frame) {
  const before = room.session;
  room.hear(frame);
  switch (frame.type) {
    case 'session_state': if (before && joined) turned(before, frame.session); break;
    case 'personal_feedback': heart.begin(room.session ? room.session.id : null); heart.hear(frame); strap = frame.strap; break;
    case 'beat': heart.beat(frame); if (view === 'live') live.beat(frame); break;
    case 'strap_moved': moved(frame.label); break;
    default:
  }
  if (view === 'live') live.draw();
}

/** The session turned: one that ended is shown until its person leaves it. */
function turned(before, now) {
  if (before.id === now.id && now.phase !== 'complete') return;
  const which = now.phase === 'complete' ? now : before;
  if (ended && ended.session.id === which.id) { if (before.id !== now.id) heart.begin(now.id); return; }
  ended = { session: which, points: heart.sessionId === which.id ? heart.points.slice() : [] };
  if (before.id !== now.id) heart.begin(now.id);
  if (view === 'live') { open('summary'); sound.bowl('complete'); }
}

/** Nobody whom the hub knows. */
const unknown = (problem) => problem.code === 'unknown_participant' || problem.code === 'bad_token';

/** There is a line: who was here is here again. */
async function connected() {
  clearTimeout(againTimer);
  try {
    if (me && !left) {
      entered(await link.ask({ type: 'join_session', resumeToken: me.token }));
      if (view === null || view === 'join') { open('live'); tell(say('join.back')); }
    }
    if (wasLost) back(); else notice('');
  } catch (problem) {
    if (unknown(problem)) { if (wasLost) back(); forget(); return; }
    if (view === null) open('join');
    if (problem.code === 'offline') return;          // there will be a line again
    wasLost = true;
    notice(explain(problem));
    againTimer = setTimeout(() => { if (link.up) connected(); }, problem.retryAfterMs || AGAIN_MS);
  }
}

/** Joins; who was here before goes on as the same person. */
async function enter(fields) {
  let answer;
  try { answer = await link.ask({ type: 'join_session', ...fields, ...(me ? { resumeToken: me.token } : {}) }); } catch (problem) {
    if (!me || !unknown(problem)) throw problem;
    remember(me = null);
    return enter(fields);
  }
  clearTimeout(againTimer);
  store(LEFT, left = false);
  me = { participantId: answer.participantId, token: answer.resumeToken };
  remember(me);
  store(SHARED, Boolean(fields.consent));
  entered(answer);
  open('live');
}

/** Finding one's heart takes being here: joins as the form stands, without a strap, and goes on. */
async function findFromJoin() {
  $('strap-none').checked = true; join.list.chosen = '';
  if (await join.submit()) open('claim');
}

function entered(answer) {
  joined = true; strap = answer.strap;
  heart.begin(answer.session.id);
  recall(answer.session.id);
}

/** What was scored before this page was opened. */
async function recall(sessionId) {
  try { heart.recall(sessionId, (await myData(me)).scores); if (view === 'live') live.draw(); } catch (_) { /* the curve begins here */ }
}

function forget() {
  me = null; joined = false; strap = null; ended = null;
  remember(null); store(LEFT, left = false);
  heart.begin(null); heart.beats = [];
  awake.release();
  open('join');
}

/** This phone is somebody else's now. */
function anew() { forget(); link.renew(); }

/* ------------------------------------------------------------------ views */

function open(name) {
  const before = view;
  view = name;
  for (const id of ['join', 'live', 'summary', 'claim', 'read']) show(id, id === name);
  if (before === 'join' && name !== 'read' && name !== 'claim') { join.hide(); waitingImage.paint(null); }
  if (before === 'live') live.end();
  if (before === 'summary') summary.end();
  if (name === 'join') { join.show(card.roomCode && $('room-code').value === '', me !== null); draw(); }
  if (name === 'live') { live.begin(); if (before === 'join') hint(); else awake.keep(); }
  if (name === 'claim') claim.begin();
  if (name === 'summary') { summary.show(ended.session, ended.points); dataBlock($('end-data'), dataOptions); draw(); }
  window.scrollTo(0, 0);
  const heading = $(name).querySelector('h1');
  if (heading && before !== null && name !== 'claim') heading.focus({ preventScroll: true });
}

/** What stands in views that are not the session's own. */
function draw() {
  const now = clock.now(), time = room.time(now);
  if (view === 'join') { join.people(room, time); waitingImage.of(room.session ? room.session.id : null); waitingImage.redraw(); }
  if (view === 'summary') put('stay', ended && room.session && room.session.id === ended.session.id && time && time.leftMs > 0 ? say('end.back') : say('end.stay.now'));
  if (view === 'live') show('ended-line', ended !== null);
}

async function hint() {
  if (await awake.keep()) return;
  notice(say('link.sleep'), false);
  noticeTimer = setTimeout(() => notice(''), 2 * BACK_MS);
}

function read(done) {
  const from = view;
  put('text-version', say('consent.version', { version: say('consent.text') }));
  $('read-back').onclick = () => open(from);
  $('read-no').onclick = () => { done(false); open(from); };
  $('read-yes').onclick = () => { done(true); open(from); };
  open('read');
}

/* ------------------------------------------------------------------ the line */

function watch() {
  if (link && link.elsewhere) {
    wasLost = true;
    notice(say('link.elsewhere'), false, true);
  } else if (lost() && !room.session) {
    notice(say('link.first'));
  } else if (lost()) {
    wasLost = true;
    notice(`${say('link.lost')}${card.wifiName ? ` ${say('link.lost.wifi', { ssid: card.wifiName })}` : ''}`);
  }
  draw();
}

function back() {
  wasLost = false;
  notice(say('link.back'), false);
  noticeTimer = setTimeout(() => notice(''), BACK_MS);
}

/** `here` offers to go on with this page. */
function notice(text, busy = true, here = false) {
  clearTimeout(noticeTimer);
  put('notice-text', text);
  $('notice').classList.toggle('still', !busy);
  show('notice', text !== '');
  show('notice-here', here);
}

/** Another phone has shown that my strap is its heart. */
function moved(label) {
  strap = null;
  notice(say('claim.lost', { strap: strapName(label) }), false);
  noticeTimer = setTimeout(() => notice(''), 4 * BACK_MS);
  if (view === 'live') chooseStrap();
}

/* ------------------------------------------------------------------ sheets */

const dataOptions = {
  of: () => me,
  shared: (on) => { if (on !== undefined) store(SHARED, on); return stored(SHARED); },
  erased: () => { forget(); notice(say('end.erased.plain'), false); noticeTimer = setTimeout(() => notice(''), 4 * BACK_MS); },
};

let closeMenu = null;
const strapList = { list: null, close: null };

function menu() {
  put('menu-strap', strap ? say('menu.strap', { strap: strapName(strap) }) : say('menu.strap.none'));
  $('menu-sound').checked = sound.on();
  $('menu-still').checked = live.figure.calm;
  $('menu-language').replaceChildren(...Object.keys(languages).map((tag) => { const option = make('option', { value: tag }, languages[tag]); option.selected = tag === language; return option; }));
  dataBlock($('menu-data'), { ...dataOptions, erased: () => { closeMenu(); dataOptions.erased(); } });
  closeMenu = openSheet($('menu'));
}

function chooseStrap() {
  if (closeMenu && !$('menu').hidden) closeMenu();
  if (!$('strap-sheet').hidden) strapList.close();
  if (!strapList.list) strapList.list = new StrapList($('other-straps'), 'other-strap');
  strapList.list.clear();
  strapList.list.start();
  show('strap-error', false);
  strapList.close = openSheet($('strap-sheet'), () => strapList.list.stop());
}

async function takeStrap() {
  if (!strapList.list.chosen) return;
  try {
    strap = (await link.ask({ type: 'claim_strap', strap: strapList.list.chosen })).strap;
    strapList.close();
  } catch (problem) { put('strap-error', explain(problem)); show('strap-error', true); }
}

async function sounding(on) {
  const does = on ? await sound.start() : (sound.stop(), false);
  $('sound').setAttribute('aria-pressed', String(does));
  $('sound').setAttribute('aria-label', say(does ? 'sound.on' : 'sound.off'));
  $('sound-sign').setAttribute('d', does ? 'M15.5 9a4 4 0 010 6M18 6.5a8 8 0 010 11' : 'M16 9.5l5 5M21 9.5l-5 5');
}

async function change(tag) {
  choose(tag);
  await speak(tag);
  speakAll();
  document.title = say('join.title');
  join.translate();
  sounding(sound.on());
  for (const id of ['scale', 'part', 'room-value', 'todo', 'axis', 'times']) delete $(id).dataset.drawn;
  if (view === 'live') live.draw();
  if (view === 'summary') { summary.draw(); dataBlock($('end-data'), dataOptions); }
  draw();
}

async function leave() {
  closeMenu();
  try { await link.ask({ type: 'leave_session' }); } catch (_) { /* two minutes of absence say it as well */ }
  joined = false; strap = null;
  store(LEFT, left = true);
  awake.release();
  open('join');
}

function wire() {
  $('notice-here').addEventListener('click', () => link.wake());
  $('more').addEventListener('click', menu);
  $('menu-close').addEventListener('click', () => closeMenu());
  $('menu-choose').addEventListener('click', chooseStrap);
  $('choose').addEventListener('click', chooseStrap);
  $('strap-close').addEventListener('click', () => strapList.close());
  $('strap-take').addEventListener('click', takeStrap);
  $('strap-find').addEventListener('click', () => { strapList.close(); open('claim'); });
  $('claim-back').addEventListener('click', () => open('live'));
  $('menu-sound').addEventListener('change', (event) => sounding(event.target.checked));
  $('sound').addEventListener('click', () => sounding(!sound.on()));
  $('menu-still').addEventListener('change', (event) => { store(CALM, event.target.checked); live.figure.rest(event.target.checked); });
  $('menu-language').addEventListener('change', async (event) => { await change(event.target.value); closeMenu(); menu(); });
  $('menu-leave').addEventListener('click', leave);
  $('stay').addEventListener('click', () => { ended = null; open('live'); });
  $('see-summary').addEventListener('click', () => open('summary'));
  sounding(false);
}

window.room = { room, clock, heart, get live() { return live; } };   // for those who measure
begin();
