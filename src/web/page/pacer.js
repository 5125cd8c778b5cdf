// The breath, from the stage's anchor. PURE: an anchor and a time of the hub's clock in, where the breath
// is out. So all who know the anchor and the time breathe together, and a stutter loses nothing.

/** Share of a breath that goes in; breathing out takes longer. */
export const IN = 0.45;

/** One breath of the room's pacer, ms of position, at whatever tempo: the tempo is in the anchor's rate. */
export const TURN_MS = 10_000;

/** Where the stage is at `now`, ms of position. */
export function positionAt(anchor, now) {
  return anchor.state === 'playing' ? anchor.positionMs + (now - anchor.at) * anchor.rate : anchor.positionMs;
}

/** How many turns a stage (a `snapshot`) has gone at `now`: breaths of the room, beats of a named session. */
export const turnsAt = (stage, now) => positionAt(stage.anchor, now) / stage.turnMs;

/** `{turn 0..1, fill 0..1, into}` of the breath at a position of the room's pacer; `turn` 0.5 is the top, where breathing in ends. */
export function breathAt(positionMs) {
  const turn = ((positionMs / TURN_MS) % 1 + 1) % 1, into = turn < IN;
  const part = into ? turn / IN : 1 - (turn - IN) / (1 - IN);
  return { turn: into ? part / 2 : 1 - part / 2, fill: 0.5 - 0.5 * Math.cos(Math.PI * part), into };
}
