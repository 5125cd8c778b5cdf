// Keeps the screen on while somebody breathes, where the browser allows it.

let lock = null, wanted = false;

/** Answers whether the screen will stay on; plain HTTP never allows it. */
export async function keep() {
  wanted = true;
  if (lock && !lock.released) return true;
  if (!('wakeLock' in navigator)) return false;
  try { lock = await navigator.wakeLock.request('screen'); return true; } catch (_) { return false; }
}

export function release() { wanted = false; if (lock) { lock.release(); lock = null; } }

document.addEventListener('visibilitychange', () => { if (wanted && !document.hidden) keep(); });
