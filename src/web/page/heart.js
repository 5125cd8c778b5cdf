// My heart as this phone knows it: the newest evaluation, the curve of this session, the last beats. No drawing here.

const FRESH_MS = 12_000;        // two grid points: an older evaluation is history
const SILENT_MS = 5_000;
const RATE_BEATS = 8;

export class Heart {
  constructor() { this.begin(null); }

  /** Another session: another curve. */
  begin(sessionId) {
    const same = sessionId !== null && this.sessionId === sessionId;
    if (same) return;
    this.sessionId = sessionId;
    this.points = [];            // [at, score or null, standard error or null, reason]
    this.feedback = null; this.heardAt = null;
    this.beats = this.beats || [];
  }

  /** Takes over what was before this page was opened. */
  recall(sessionId, scores) {
    if (sessionId !== this.sessionId) return;
    const newest = scores.filter((row) => row.sessionId === sessionId).map((row) => [row.at, row.score, row.standardError, row.reason]);
    const last = newest.length ? newest[newest.length - 1][0] : -Infinity;
    this.points = newest.concat(this.points.filter((point) => point[0] > last));
  }

  hear(feedback) {
    this.feedback = feedback; this.heardAt = performance.now();
    const { at, score, standardError, reason } = feedback;
    const last = this.points[this.points.length - 1];
    if (!last || last[0] < at) this.points.push([at, score, standardError, reason]);
    else if (last[0] === at) this.points[this.points.length - 1] = [at, score, standardError, reason];
  }

  beat(frame) { this.beats = this.beats.concat([frame]).slice(-RATE_BEATS); }

  /** The newest evaluation, while it is true. */
  get now() { return this.feedback && performance.now() - this.heardAt < FRESH_MS ? this.feedback : null; }

  /** Age of the newest beat, ms; null before the first. */
  silence(hubNow) { const last = this.beats[this.beats.length - 1]; return last && hubNow !== null ? hubNow - last.at : null; }

  /** Beats per minute over the last beats; null when they are old. */
  rate(hubNow) {
    const silence = this.silence(hubNow);
    if (silence === null || silence > SILENT_MS || this.beats.length < 3) return null;
    const sum = this.beats.reduce((all, beat) => all + beat.rrMs, 0);
    return 60_000 * this.beats.length / sum;
  }
}

/** Stretches without a score between `from` and `to` (hub's clock), where they last: `[start, end]`. */
export function gapsOf(points, from, to, stepMs = 5000) {
  const gaps = [];
  let open = from;
  for (const [at, score] of points) {
    if (score === null) continue;
    if (at - open > 2.5 * stepMs) gaps.push([open, at]);
    open = at;
  }
  if (to - open > 2.5 * stepMs) gaps.push([open, to]);
  return gaps;
}
