// My data, as a block that stands in the menu and under the summary: save it, share it or not, be erased.

import { make, show, tell } from './dom.js';
import { myData, table, save, consent, erase } from './me.js';
import { say, explain } from './texts.js';

/** Fills `place`. `of()` is who I am, `shared(on?)` keeps and tells whether I share, `erased()` goes on afterwards. */
export function dataBlock(place, { of, shared, erased }) {
  const button = (key, act, kind = 'button') => { const node = make('button', { type: 'button', class: kind }, say(key)); node.addEventListener('click', () => run(node, act)); return node; };
  const words = make('p', { class: 'help', role: 'status' }), error = make('p', { class: 'error', role: 'alert', hidden: '' });
  const run = async (node, act) => {
    node.disabled = true; show(error, false);
    try { await act(); } catch (problem) { error.textContent = explain(problem); show(error, true); }
    node.disabled = false;
  };
  const file = (kind) => async () => {
    const data = await myData(of()), day = new Date().toISOString().slice(0, 10);
    if (kind === 'csv') save(`my-scores-${day}.csv`, 'text/csv', table(data)); else save(`my-data-${day}.json`, 'application/json', JSON.stringify(data, null, 2));
    words.textContent = say('end.received');
  };
  const research = make('p', { class: 'row item' });
  const drawResearch = () => {
    const on = shared();
    research.replaceChildren(make('span', {}, say(on ? 'consent.on' : 'consent.off')), button(on ? 'end.withdraw' : 'end.share', async () => {
      await consent(of(), on ? ['display', 'store', 'sync'] : ['display', 'store', 'sync', 'research']);
      shared(!on); drawResearch();
      words.textContent = say(on ? 'consent.withdrawn' : 'consent.on'); tell(words.textContent);
    }, 'button small'));
  };
  const ask = make('div', { class: 'pair' }), sure = make('p', { hidden: '' }, say('end.erase.sure'));
  const first = button('end.erase', async () => {
    // The second button is not where the first was.
    show(first, false); show(sure, true);
    ask.replaceChildren(button('end.erase.yes', async () => { await erase(of()); erased(); }, 'button danger'), button('end.erase.cancel', async () => { show(first, true); show(sure, false); ask.replaceChildren(); }));
    ask.firstChild.nextSibling.focus();
  }, 'button danger');
  place.replaceChildren(make('div', { class: 'pair' }, button('end.csv', file('csv')), button('end.json', file('json'))), words, research, first, make('p', { class: 'help' }, say('end.erase.what')), sure, ask, error);
  drawResearch();
}
