// The sound of the breath and of the session, made here; off until chosen. Nothing sounds for scores or hearts.

const MASTER = 0.125;           // -18 dBFS
const ONSET_S = 0.05;
const BOWL = [[1, 1], [2.76, 0.35], [5.4, 0.12]];

let context = null, out = null, voices = null;

export const on = () => context !== null && context.state === 'running';

/** After a touch only: browsers make no sound before. */
export async function start() {
  if (!context) {
    const Context = window.AudioContext || window.webkitAudioContext;
    if (!Context) return false;
    context = new Context();
    out = context.createGain(); out.gain.value = MASTER; out.connect(context.destination);
    const level = context.createGain(); level.gain.value = 0; level.connect(out);
    const tones = [110, 165].map((hz) => { const tone = context.createOscillator(); tone.frequency.value = hz; tone.connect(level); tone.start(); return tone; });
    voices = { level, tones };
  }
  await context.resume();
  return on();
}

export const stop = () => { if (context) context.suspend(); };

/** The level follows the breath, so that it can be followed with eyes closed. `at` null: silence. */
export function breathe(at) {
  if (!on()) return;
  const now = context.currentTime;
  voices.level.gain.setTargetAtTime(at ? 0.15 + 0.85 * at.fill : 0, now, ONSET_S);
  if (at) voices.tones.forEach((tone, n) => tone.frequency.setTargetAtTime([110, 165][n] * (at.into ? 1 : 2 ** (-2 / 12)), now, ONSET_S));
}

/** A bowl: once as a session begins, a fourth lower for resting, both as it is complete. */
export function bowl(phase) {
  if (!on()) return;
  const strike = (hz) => {
    for (const [ratio, loud] of BOWL) {
      const tone = context.createOscillator(), level = context.createGain(), now = context.currentTime;
      tone.frequency.value = hz * ratio;
      level.gain.setValueAtTime(0, now);
      level.gain.linearRampToValueAtTime(loud * 0.6, now + ONSET_S);
      level.gain.exponentialRampToValueAtTime(0.0001, now + 6 / Math.sqrt(ratio));
      tone.connect(level); level.connect(out);
      tone.start(now); tone.stop(now + 6);
    }
  };
  if (phase === 'active' || phase === 'complete') strike(220);
  if (phase === 'integration' || phase === 'complete') strike(165);
}
