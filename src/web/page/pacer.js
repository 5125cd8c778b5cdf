// The breath, from the stage's anchor. PURE: the anchor and a time in, where the breath is out.

/** Share of a breath that goes in; breathing out takes longer. */
export const IN = 0.45;

/** Where the stage is at `now` (hub's clock), ms; it never runs backwards before its anchor. */
export function positionAt(anchor, now) {
  return anchor.state === 'playing' ? anchor.positionMs + (now - anchor.at) * anchor.rate : anchor.positionMs;
}

/** `{turn 0..1, fill 0..1, into}` of a breath; `turn` 0.5 is the top, where breathing in ends. */
export function breathAt(positionMs, tempo) {
  const turn = ((positionMs * tempo / 60_000) % 1 + 1) % 1, into = turn < IN;
  const part = into ? turn / IN : 1 - (turn - IN) / (1 - IN);
  return { turn: into ? part / 2 : 1 - part / 2, fill: 0.5 - 0.5 * Math.cos(Math.PI * part), into };
}
