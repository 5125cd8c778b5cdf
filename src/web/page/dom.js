// Small means for all pages: finding, showing, and drawing only what changed. No state of the room.

import { say } from './texts.js';

export const $ = (id) => document.getElementById(id);

/** Sets text only when it changed: less work, and nothing selected gets lost. */
export const put = (target, text) => { const node = typeof target === 'string' ? $(target) : target; if (node.textContent !== text) node.textContent = text; };

export const show = (target, on) => { const node = typeof target === 'string' ? $(target) : target; if (node.hidden === Boolean(on)) node.hidden = !on; };

/** Writes markup of our own making only when its key changed. Never anything that a person wrote. */
export const draw = (target, key, markup) => {
  const node = typeof target === 'string' ? $(target) : target;
  if (node.dataset.drawn !== key) { node.dataset.drawn = key; node.innerHTML = markup(); }
};

/** An element with text and attributes. */
export function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const key of Object.keys(attributes)) { if (attributes[key] !== null) node.setAttribute(key, attributes[key]); }
  node.append(...children);
  return node;
}

/** Fills in every sentence that stands still: `data-say` its text, `data-say-label` its name for readers. */
export function speakAll(root = document) {
  for (const node of root.querySelectorAll('[data-say]')) put(node, say(node.dataset.say));
  for (const node of root.querySelectorAll('[data-say-label]')) node.setAttribute('aria-label', say(node.dataset.sayLabel));
  for (const node of root.querySelectorAll('[data-say-hint]')) node.setAttribute('placeholder', say(node.dataset.sayHint));
}

/** For those who listen instead of looking; the same words once more are said once more. */
export const tell = (text) => { const node = $('tell'); node.textContent = node.textContent === text ? `${text}\u00a0` : text; };

/** A sheet over the page: takes the focus, keeps it, gives it back. */
export function openSheet(sheet, onClose = () => {}) {
  const before = document.activeElement;
  const reach = () => Array.from(sheet.querySelectorAll('button, a[href], input, select, textarea')).filter((node) => !node.disabled && node.offsetParent !== null);
  const close = () => {
    show(sheet, false);
    document.removeEventListener('keydown', keys);
    if (before && before.focus) before.focus();
    onClose();
  };
  const keys = (event) => {
    if (event.key === 'Escape') { close(); return; }
    if (event.key !== 'Tab') return;
    const all = reach(), edge = event.shiftKey ? all[0] : all[all.length - 1];
    if (document.activeElement === edge || !sheet.contains(document.activeElement)) { event.preventDefault(); (event.shiftKey ? all[all.length - 1] : all[0]).focus(); }
  };
  show(sheet, true);
  document.addEventListener('keydown', keys);
  const first = reach()[0];
  if (first) first.focus();
  return close;
}
