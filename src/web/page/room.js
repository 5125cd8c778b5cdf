// The room as this page knows it: the newest of every frame, and how old it is. No drawing here.

const STALE_MS = 12_000;        // two grid points without news
const GONE_MS = 120_000;        // then a figure says nothing any more

export const levelOf = (score) => (score < 40 ? 'low' : score < 60 ? 'medium' : 'high');

export class Room {
  constructor() { this.session = null; this.group = null; this.groupAt = null; this.stage = null; }

  hear(frame) {
    if (frame.type === 'session_state' || frame.type === 'session_joined') this.session = frame.session;
    if (frame.type === 'group_metrics_update') {
      this.group = frame; this.groupAt = performance.now();
      this.count(frame.participants, frame.scored);
    }
    if (frame.type === 'participant_update') this.count(frame.participants);
    if (frame.type === 'snapshot') this.stage = frame;
  }

  count(participants, scored) {
    if (!this.session) return;
    this.session = { ...this.session, participants, scored: scored === undefined ? this.session.scored : scored };
  }

  /** How old the group's figures are, ms; null while there are none. */
  get age() { return this.groupAt === null ? null : performance.now() - this.groupAt; }
  get stale() { return this.age !== null && this.age > STALE_MS; }
  /** The group's figures, while they are worth showing. */
  get figures() { return this.group && this.age < GONE_MS && this.group.average !== null ? this.group : null; }
  get scored() { return this.session ? this.session.scored : 0; }
  get people() { return this.session ? this.session.participants : 0; }

  /** Where the session is: `{phase, leftMs, share, phaseShare}`, or null before anything is known. */
  time(now) {
    const s = this.session;
    if (!s || now === null) return null;
    const leftMs = Math.max(0, s.endsAt - now), over = leftMs === 0 || s.phase === 'complete';
    const phase = over ? 'complete' : s.phase;
    return { phase, leftMs, share: clamp((now - s.startsAt) / (s.endsAt - s.startsAt)), untilPhaseEndMs: Math.max(0, s.phaseEndsAt - now) };
  }
}

export const clamp = (x, low = 0, high = 1) => Math.min(high, Math.max(low, x));

/** A number that glides towards what is wanted, with a time constant; scores come every 5 s. */
export class Glide {
  constructor(tauS = 2.5) { this.tau = tauS; this.value = null; this.at = null; }
  toward(wanted, seconds) {
    if (wanted === null || this.value === null) this.value = wanted;
    else this.value += (wanted - this.value) * (1 - Math.exp(-Math.max(0, seconds - this.at) / this.tau));
    this.at = Math.max(this.at, seconds);          // asked ahead of its time, it waits there
    return this.value;
  }
}
