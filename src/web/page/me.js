// Who I am to the hub: participant id and token, kept on this phone, and what a token opens: my data,
// my consent, being erased. No drawing here.

import { say } from './texts.js';

const KEY = 'coherence.me';

/** `{participantId, token}` or null. */
export function remembered() {
  try { return JSON.parse(localStorage.getItem(KEY)); } catch (_) { return null; }
}

export function remember(me) {
  try { if (me) localStorage.setItem(KEY, JSON.stringify(me)); else localStorage.removeItem(KEY); } catch (_) { /* then it holds for this page */ }
}

/** Asks the hub on behalf of this person; answers the response, or throws `{code, message}`. */
async function ask(me, path, options = {}) {
  let answer;
  try {
    answer = await fetch(`api/participants/${me.participantId}${path}`, { cache: 'no-store', ...options, headers: { Authorization: `Bearer ${me.token}`, ...options.headers } });
  } catch (_) { throw { code: 'offline', message: '' }; }
  if (answer.ok) return answer;
  let problem = {};
  try { problem = await answer.json(); } catch (_) { /* no words from the hub */ }
  throw { code: problem.code || String(answer.status), message: problem.detail || '', retryAfterMs: problem.retryAfterMs };
}

/** Everything the hub keeps of me. */
export const myData = async (me) => (await ask(me, '/data')).json();

export const consent = (me, scopes) => ask(me, '/consent', { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ textVersion: say('consent.text'), scopes }) });

export const erase = (me) => ask(me, '', { method: 'DELETE' });

/** Saves a file from this page. */
export function save(name, type, text) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** My scores as a table: a line for each grid point, times in UTC, an empty cell where there is nothing. */
export function table(data) {
  const columns = ['sessionId', 'at', 'strap', 'score', 'standardError', 'level', 'reason', 'status', 'beats', 'coverage', 'artefactPct', 'peakHz', 'breathsPerMin', 'meanHrBpm', 'sdnnMs', 'rmssdMs', 'pnn50Pct', 'lfMs2', 'hfMs2', 'lfHf', 'totalMs2', 'algorithm', 'settings'];
  const cell = (name, value) => {
    const text = value === null || value === undefined ? '' : name === 'at' ? new Date(value).toISOString() : String(value);
    // A label that a spreadsheet would run as a formula gets the apostrophe that keeps it a text.
    const safe = typeof value === 'string' && /^[=+@-]/.test(text) ? `'${text}` : text;
    return /[",\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
  };
  const lines = data.scores.map((row) => columns.map((name) => cell(name, row[name])).join(','));
  return `${columns.join(',')}\r\n${lines.join('\r\n')}\r\n`;
}
