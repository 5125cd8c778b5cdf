// Joining in under fifteen seconds: nothing is required, Join always works.

import { $, put, show, make } from './dom.js';
import { StrapList, drawTaken } from './straps.js';
import { say, count, span, explain, languages, language } from './texts.js';

const INTENTIONS = ['calm', 'gratitude', 'rest', 'someone'];

export class Join {
  /** `go(fields)` joins and throws what the hub answers; `find` opens the way to one's own heart; `anew` begins as somebody else;
      `read(done)` shows the whole text of the consent; `speak(tag)` changes the language. */
  constructor({ go, find, anew, read, speak }) {
    Object.assign(this, { go, speak });
    this.list = new StrapList($('straps'), 'strap', (straps) => {
      drawTaken(straps, $('taken'), $('taken-count'));
      const none = !straps.some((strap) => strap.state !== 'away');
      show('straps-none', none); put('straps-none', say('join.strap.none'));
    });
    $('strap-none').addEventListener('change', () => { this.list.chosen = ''; });
    $('join-form').addEventListener('submit', (event) => { event.preventDefault(); this.submit(); });
    $('join-find').addEventListener('click', find);
    $('join-anew').addEventListener('click', anew);
    $('consent-more').addEventListener('click', () => read((yes) => { $('consent').checked = yes; }));
    $('join-language').addEventListener('click', () => speak(this.other));
  }

  get other() { return Object.keys(languages).find((tag) => tag !== language); }

  /** `before`: this phone has been here, and goes on as the same person. */
  show(roomCode, before) {
    show('room-code-field', roomCode && !before);
    show('join-before', before);
    this.translate();
    this.list.start();
  }

  hide() { this.list.stop(); }

  /** Chips and whatever else depends on the language. */
  translate() {
    put('join-language', languages[this.other]);
    const chosen = this.intention;
    const chip = (value, key) => {
      const input = make('input', { type: 'radio', name: 'intention', value });
      input.checked = value === chosen;
      return make('label', {}, input, make('span', {}, say(key)));
    };
    $('intentions').replaceChildren(...INTENTIONS.map((name) => chip(name, `join.intention.${name}`)), chip('own', 'join.intention.own'));
    $('intentions').onchange = () => { const own = this.intention === 'own'; show('intention-own', own); if (own) $('intention-own').focus(); };
  }

  get intention() { const input = $('intentions').querySelector('input:checked'); return input ? input.value : null; }

  people(room, time) {
    if (!time) { put('join-people', say('link.first')); return; }
    const left = { time: span(time.leftMs + 999) };
    put('join-people', room.people === 0 ? say('join.first', left) : count('join.people', room.people, left));
  }

  /** Whether it worked. */
  async submit() {
    const fields = {}, own = this.intention === 'own' ? $('intention-own').value.trim() : this.intention && say(`join.intention.${this.intention}`);
    const name = $('name').value.trim(), code = $('room-code').value.trim();
    if (this.list.chosen) fields.strap = this.list.chosen;
    if (own) fields.intention = own;
    if (name) fields.name = name;
    if (code) fields.roomCode = code;
    if ($('consent').checked) fields.consent = { textVersion: say('consent.text'), scopes: ['display', 'store', 'sync', 'research'] };
    $('join-go').disabled = true;
    show('join-error', false);
    let done = true;
    try { await this.go(fields); } catch (problem) { this.refuse(problem); done = false; }
    $('join-go').disabled = false;
    return done;
  }

  refuse(problem) {
    const code = problem.code;
    if (code === 'strap_taken' || code === 'unknown_strap') { this.list.clear(); this.list.start(); }
    if (code === 'room_code') { show('room-code-field', true); $('room-code').focus(); }
    put('join-error', explain(problem));
    show('join-error', true);
  }
}
