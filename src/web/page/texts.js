// The sentences of the pages: one JSON file for each language, flat keys, {name} stands for a value.
// Not here: what is said when.

const KNOWN = ['en', 'de'];
const CHOICE = 'coherence.language';
let texts = {}, fallback = {};
export let language = 'en';

/** The language to speak: what was chosen, then what the browser prefers, then English. */
export function preferred() {
  let chosen = null;
  try { chosen = localStorage.getItem(CHOICE); } catch (_) { /* a browser that keeps nothing */ }
  const wanted = [chosen].concat(navigator.languages || [navigator.language]);
  return wanted.map((tag) => String(tag || '').toLowerCase().split('-')[0]).find((tag) => KNOWN.includes(tag)) || 'en';
}

/** Keeps a choice for the next time. */
export function choose(tag) { try { localStorage.setItem(CHOICE, tag); } catch (_) { /* then it holds for now */ } }

/** The languages there are, each by its own name. */
export const languages = { en: 'English', de: 'Deutsch' };

/** Fetches a language; English stands in for what it lacks. */
export async function speak(tag) {
  const fetched = async (name) => (await fetch(`texts/${name}.json`)).json();
  fallback = Object.keys(fallback).length ? fallback : await fetched('en');
  texts = tag === 'en' ? fallback : await fetched(tag);
  language = tag;
  document.documentElement.lang = tag;
}

/** The sentence for a key; an unknown key is returned as it is, so that it is seen. */
export function say(key, values = {}) {
  const text = texts[key] || fallback[key] || key;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** The sentence that fits a number. */
export const count = (key, n, values = {}) => say(`${key}.${n === 1 ? 'one' : 'other'}`, { n: number(n), ...values });

/** Whether there is a sentence for a key. */
export const has = (key) => key in texts || key in fallback;

/** A number as this language writes it. */
export const number = (n, digits = 0) => new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(n);

/** A duration as m:ss. */
export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
}

/** A time of day. */
export const oclock = (ms) => new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit' }).format(new Date(ms));

/** A refusal of the hub in words. */
export function explain(problem) {
  const n = problem.retryAfterMs ? Math.ceil(problem.retryAfterMs / 1000) : 5;
  switch (problem.code) {
    case 'offline': return say('error.offline');
    case 'busy': case 'not_stored': return say('error.busy', { n });
    case 'strap_taken': case 'unknown_strap': return say('error.strap_taken');
    case 'room_code': return say('error.room_code');
    case 'room_code_locked': return say('error.locked', { n });
    case 'rate_limited': return say('error.rate', { n });
    case 'room_full': return say('error.full');
    default: return say('error.unknown', { code: problem.code || 'unknown' });
  }
}
