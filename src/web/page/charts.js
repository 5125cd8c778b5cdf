// Small drawings of numbers, as SVG text. PURE: numbers in, markup out; no names, no free text, no colour but by class.
// Every drawing is decoration for a sentence that stands beside it (aria-hidden); the sentence is the truth.

/** Where a heart without any steady rhythm stands on average, by version 2 of the score. */
export const FLOOR = 18;

const f = (x) => (Math.round(x * 10) / 10).toString();
const svg = (w, h, body, cls = '') => `<svg class="${cls}" viewBox="0 0 ${w} ${h}" width="100%" height="100%" aria-hidden="true" focusable="false" preserveAspectRatio="none">${body}</svg>`;
const svgFit = (w, h, body, cls = '') => `<svg class="${cls}" viewBox="0 0 ${w} ${h}" aria-hidden="true" focusable="false">${body}</svg>`;

/** Three waves for the three words: irregular, nearly regular, regular. Read without colour. */
export function phaseMark(phase) {
  const d = { low: 'M2 13c2-6 4-6 5-1s3 2 4-4 3-3 4 3 3 7 5 1 3-6 5-2 3 5 5 3', medium: 'M2 12c2.5-7 5-7 7 0s4.5 6 6.5 0 4-5.5 6-.5 4 7.5 8.5-1', high: 'M2 12c2.33-8 4.67-8 7 0s4.67 8 7 0 4.67-8 7 0 4.67 8 7 0' }[phase];
  const extra = phase === 'high' ? '<path d="M2 20.5h28" stroke-width="1.5"/>' : phase === 'medium' ? '<path d="M2 20.5h28" stroke-width="1.5" stroke-dasharray="3 4"/>' : '';
  return `<svg class="mark" viewBox="0 0 32 24" aria-hidden="true" focusable="false"><g fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round">${d ? `<path d="${d}"/>` : '<path d="M3 12h3M11 12h3M19 12h3M27 12h2"/>'}${extra}</g></svg>`;
}

/**
 * The scale 0..100 with its two borders (40, 60), the level of a heart without rhythm,
 * and the score as a mark inside its error bar. Without a score: the empty scale, dashed.
 */
export function scale({ score = null, error = 8, w = 340, h = 46 }) {
  const x = (v) => 6 + (w - 12) * v / 100, y = 17;
  const seg = (a, b, cls) => `<rect class="${cls}" x="${f(x(a) + (a ? 1.5 : 0))}" y="${y - 3}" width="${f(x(b) - x(a) - (a ? 1.5 : 0) - (b < 100 ? 1.5 : 0))}" height="6" rx="3"/>`;
  let s = score === null ? `<path class="empty" d="M${x(0)} ${y}H${x(100)}"/>` : seg(0, 40, 'f-low') + seg(40, 60, 'f-medium') + seg(60, 100, 'f-high');
  s += `<path class="tick" d="M${f(x(FLOOR))} ${y + 6}v7"/>`;
  for (const v of [0, 40, 60, 100]) s += `<text class="num" x="${f(x(v))}" y="${h - 3}" text-anchor="${v === 0 ? 'start' : v === 100 ? 'end' : 'middle'}">${v}</text>`;
  s += `<text class="num quiet" x="${f(x(FLOOR))}" y="${h - 3}" text-anchor="middle">${FLOOR}</text>`;
  if (score !== null) {
    const a = x(Math.max(0, score - error)), b = x(Math.min(100, score + error));
    s += `${error === null ? '' : `<path class="bar" d="M${f(a)} ${y}H${f(b)}M${f(a)} ${y - 8}v16M${f(b)} ${y - 8}v16"/>`}<circle class="dot" cx="${f(x(score))}" cy="${y}" r="8"/>`;
  }
  return svgFit(w, h, s, 'scale');
}

/** Points without a value end a run. */
function runsOf(points) {
  const runs = [[]];
  for (const point of points) { if (point[1] === null) { if (runs[runs.length - 1].length) runs.push([]); } else runs[runs.length - 1].push(point); }
  return runs;
}

/**
 * A curve of scores over time, each `[t, score or null, standard error]`, with its error band. Gaps stay
 * gaps; nothing is joined across them. `group` likewise without errors.
 */
export function trend({ points, from = 0, to = 900, w = 340, h = 84, group = null, gaps = [], phases = [] }) {
  const x = (t) => (t - from) / (to - from) * w, y = (v) => 4 + (h - 8) * (1 - v / 100);
  const runs = runsOf(points.map(([t, v, e]) => [t, v, e || 0]));
  let s = `<path class="grid" d="M0 ${f(y(40))}H${w}M0 ${f(y(60))}H${w}"/>`;
  for (const p of phases) s += `<path class="edge" d="M${f(x(p))} 0V${h}"/>`;
  for (const [a, b] of gaps) s += `<rect class="gap" x="${f(x(a))}" y="2" width="${f(x(b) - x(a))}" height="${h - 4}" rx="3"/>`;
  for (const r of runs.filter((q) => q.length > 1)) {
    s += `<path class="band" d="M${r.map(([t, v, e]) => `${f(x(t))} ${f(y(Math.min(100, v + e)))}`).join('L')}L${r.slice().reverse().map(([t, v, e]) => `${f(x(t))} ${f(y(Math.max(0, v - e)))}`).join('L')}Z"/>`;
  }
  for (const r of runsOf(group || []).filter((q) => q.length > 1)) s += `<path class="them" d="M${r.map(([t, v]) => `${f(x(t))} ${f(y(v))}`).join('L')}"/>`;
  for (const r of runs.filter((q) => q.length > 1)) s += `<path class="me" d="M${r.map(([t, v]) => `${f(x(t))} ${f(y(v))}`).join('L')}"/>`;
  const last = runs[runs.length - 1];
  if (last.length && to - last[last.length - 1][0] > 20 && !gaps.some((g) => g[1] >= to)) { const [t, v] = last[last.length - 1]; s += `<circle class="now" cx="${f(x(t))}" cy="${f(y(v))}" r="4.5"/>`; }
  return svg(w, h, s, 'trend');
}

/** How many hearts are where: one mark per heart. Hollow, half, full. */
export function distribution({ low, medium, high, size = 22, perRow = 10 }) {
  const all = [...Array(low).fill('low'), ...Array(medium).fill('medium'), ...Array(high).fill('high')];
  const g = size * 1.32, rows = Math.ceil(all.length / perRow) || 1, r = size / 2 - 2;
  let s = '';
  all.forEach((k, i) => {
    const cx = f(size / 2 + (i % perRow) * g), cy = f(size / 2 + Math.floor(i / perRow) * g);
    s += `<circle class="s-${k}" cx="${cx}" cy="${cy}" r="${r}"/>`;
    if (k === 'high') s += `<circle class="f-high" cx="${cx}" cy="${cy}" r="${r - 3.5}"/>`;
    if (k === 'medium') s += `<path class="f-medium" d="M${cx} ${f(+cy - r)}a${r} ${r} 0 0 1 0 ${2 * r}z"/>`;
  });
  return svgFit(f(perRow * g), f(rows * g), s, 'dist');
}

/** Synchrony 0..100 with the hatched band that chance alone would reach. */
export function synchrony({ value = null, chance = 0, w = 380, h = 46 }) {
  const x = (v) => 2 + (w - 4) * v / 100, y = 18;
  let s = '<defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="hatch" d="M0 0V7"/></pattern></defs>';
  s += `<rect class="track" x="2" y="${y - 5}" width="${w - 4}" height="10" rx="5"/>`;
  s += `<rect fill="url(#hatch)" x="2" y="${y - 13}" width="${f(x(chance) - 2)}" height="26" rx="4"/><path class="tick" d="M${f(x(chance))} ${y - 15}v30"/>`;
  if (value !== null) s += `<rect class="fill${value > chance ? '' : ' within'}" x="2" y="${y - 5}" width="${f(x(value) - 2)}" height="10" rx="5"/><circle class="dot${value > chance ? '' : ' within'}" cx="${f(x(value))}" cy="${y}" r="10"/>`;
  return svgFit(w, h, s, 'sync');
}
