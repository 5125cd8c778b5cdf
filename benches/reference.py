#!/usr/bin/env python3
"""The coherence score in Python: what the hub's speed is measured against, and a second opinion.

Version 1 of the score written anew from its definition, with numpy, as somebody would write it for an
analysis: no loop over samples, plain lists where there are only a handful of beats.

    benches/reference.py check              scores the series in tests/data/signal and compares
    benches/reference.py time CASE ROUNDS   scores the windows of a case (clean, artefacts_5_pct) so
                                            often; prints the ns per window of the fastest round

`benches/against_python` times this and the hub side by side.
"""

import csv
import math
import sys
import time
from pathlib import Path

import numpy as np

SERIES = Path(__file__).resolve().parent.parent / "tests/data/signal/synthetic"
CASES = {
    "clean": ["mix_pink_20_100mHz", "mix_pink_60_100mHz", "mix_pink_95_100mHz", "tone_100mHz", "tone_180mHz"],
    "artefacts_5_pct": ["art0_mixed_05pct"],
}

STEPS_MS = 250.0 * np.arange(256)
TAPER = np.sin(np.pi * (np.arange(256) + 0.5) / 256)
FROM_MIDDLE = np.arange(256) - 127.5


def median(values):
    values = sorted(values)
    n = len(values)
    return values[n // 2] if n % 2 else (values[n // 2 - 1] + values[n // 2]) / 2


def last_80_s(intervals):
    """Step 1: the newest intervals, back to 80 s or to a long gap."""
    reached_ms = 0.0
    start = len(intervals)
    while start:
        start -= 1
        rr_ms, gap_ms = intervals[start]
        reached_ms += rr_ms
        if reached_ms >= 80_000 or gap_ms > 5_000:
            break
        reached_ms += gap_ms
    newest = intervals[start:]
    return [(rr_ms, gap_ms if i else 0.0) for i, (rr_ms, gap_ms) in enumerate(newest)]


def is_torn(d, i, m):
    """Whether beats i and i + 1 are one that was heard twice."""
    a, b = d[i], d[i + 1]
    before, after = d[max(0, i - 4) : i], d[i + 2 : i + 6]
    m2 = median(before + after) if before or after else m
    beside = (before[-1] + after[0]) / 2 if before and after else m2
    typical, s = max(m, m2), a + b
    if not (min(a, b) < 0.75 * typical and max(a, b) < typical):
        return False
    if not (abs(s - m2) <= 0.20 * m2 or (abs(s - beside) <= 0.12 * beside and abs(beside - m2) <= 0.30 * m2)):
        return False
    return not (b <= a and after and abs(b + after[0] - m) < abs(s - m))


def count_errors(d):
    """Step 2a: durations and flags with torn beats joined and missed ones put in."""
    flags = [False] * len(d)
    for _ in range(3):
        out, out_flags, changed, i = [], [], False, 0
        while i < len(d):
            near = d[max(0, i - 4) : i + 6]
            if min(near) >= 0.75 * max(near):
                # Whatever the medians are: nothing here is short or long enough.
                out.append(d[i])
                out_flags.append(flags[i])
                i += 1
                continue
            m = median(d[max(0, i - 4) : i + 5])
            if i + 1 < len(d) and is_torn(d, i, m):
                out.append(d[i] + d[i + 1])
                out_flags.append(True)
                changed = True
                i += 2
                continue
            k = math.floor(d[i] / m + 0.5)
            if k in (2, 3) and abs(d[i] / k - m) <= 0.20 * m:
                out += [d[i] / k] * k
                out_flags += [True] * k
                changed = True
            else:
                out.append(d[i])
                out_flags.append(flags[i])
            i += 1
        d, flags = out, out_flags
        if not changed:
            break
    return d, flags


def prediction_errors(v):
    a = np.array(v)
    e = np.empty(len(v))
    e[2:-2] = a[2:-2] - (-a[:-4] + 4 * a[1:-3] + 4 * a[3:-1] - a[4:]) / 6
    first, last = v[:5], v[-5:]
    for i in (0, 1):
        e[i] = v[i] - median(first[:i] + first[i + 1 :])
        j = 3 + i
        e[i - 2] = last[j] - median(last[:j] + last[j + 1 :])
    return np.abs(e), float(np.median(a))


def roughness(v):
    return sum(abs(a - 2 * b + c) for a, b, c in zip(v, v[1:], v[2:]))


def misplaced(d, flags, most_changes):
    """Step 2b: durations, values and flags with early, late and impossible beats repaired."""
    v = list(d)
    dead = [False] * len(d)
    changes = 0
    while changes < most_changes and len(v) >= 5:
        e, typical = prediction_errors(v)
        limit = min(max(5 * 1.4826 * float(np.median(e)), 0.08 * typical), 0.25 * typical)
        changed = False
        while not changed:
            wild = [i for i, x in enumerate(v) if not 300 <= x <= 2000 and not dead[i]]
            among = wild or [i for i in np.flatnonzero(e > limit) if not dead[i]]
            if not among:
                return d, v, flags
            i = int(max(among, key=lambda i: (e[i], -i)))
            changed = repair(d, v, flags, dead, i, limit, bool(wild))
        changes += 1
    return d, v, flags


def repair(d, v, flags, dead, i, limit, wild):
    """One beat; False when nothing makes it better."""
    n = len(v)
    low, high = max(0, i - 4), min(n, i + 5)
    others = [v[j] for j in range(low, high) if abs(j - i) > 1]
    m = median(others) if others else v[i]
    ways = []
    for j in (i - 1, i):
        if j >= 0 and j + 1 < n:
            s = d[j] + d[j + 1]
            ways += [(j, 2, [s], 0.0), (j, 2, [s / 2] * 2, 0.0)]
    ways += [(i, 1, [d[i] / 2] * 2, 0.0), (i, 1, [d[i] / 3] * 3, 0.0)]
    guess = median([v[j] for j in (i - 2, i - 1, i + 1, i + 2) if 0 <= j < n])
    ways.append((i, 1, [guess], 2 * limit))
    best, least = None, math.inf if wild else roughness(v[low:high]) - limit
    for way in ways:
        at, removed, new, extra = way
        if 300 <= new[0] <= 2000 and abs(new[0] - m) <= 0.35 * m:
            cost = roughness(v[low:at] + new + v[at + removed : high]) + extra
            if cost < least:
                best, least = way, cost
    if best is None and not wild:
        dead[i] = True
        return False
    if best is None or best[3]:
        v[i] = m if best is None else guess
        flags[i] = True
        return True
    at, removed, new, _ = best
    d[at : at + removed] = new
    v[at : at + removed] = new
    flags[at : at + removed] = [True] * len(new)
    dead[at : at + removed] = [False] * len(new)
    return True


def cleaned(buffer):
    """Step 2: ends (0 is the newest), durations, values, flags and gaps of the cleaned beats."""
    d, v, flags, gaps = [], [], [], []
    begin = 0
    for end in range(1, len(buffer) + 1):
        if end < len(buffer) and buffer[end][1] <= 0:
            continue
        received = [rr_ms for rr_ms, _ in buffer[begin:end]]
        run_d, run_v, run_flags = misplaced(*count_errors(received), len(received) // 2)
        gaps += [buffer[begin][1]] + [0.0] * (len(run_d) - 1)
        d, v, flags = d + run_d, v + run_v, flags + run_flags
        begin = end
    d, v, gaps = np.array(d), np.array(v), np.array(gaps)
    t = np.cumsum(d + gaps)
    return t - t[-1], d, v, np.array(flags), gaps


def sampled(t, v):
    """Step 4: the natural cubic spline through the beats, read at 4 Hz, without its trend."""
    h = np.diff(t)
    right = 6 * np.diff(np.diff(v) / h)
    # Thomas' algorithm, on lists: numpy has no solver for three diagonals.
    n = len(t)
    hs, rs, above, bends = h.tolist(), right.tolist(), [0.0] * n, [0.0] * n
    for i in range(1, n - 1):
        pivot = 2 * (hs[i - 1] + hs[i]) - hs[i - 1] * above[i - 1]
        above[i] = hs[i] / pivot
        bends[i] = (rs[i - 1] - hs[i - 1] * bends[i - 1]) / pivot
    for i in range(n - 2, 0, -1):
        bends[i] -= above[i] * bends[i + 1]
    bends = np.array(bends)
    at = STEPS_MS - 63_750.0
    k = np.clip(np.searchsorted(t, at), 1, n - 1)
    length = h[k - 1]
    a, b = (t[k] - at) / length, (at - t[k - 1]) / length
    y = a * v[k - 1] + b * v[k] + ((a**3 - a) * bends[k - 1] + (b**3 - b) * bends[k]) * length**2 / 6
    y -= y.mean()
    return y - FROM_MIDDLE * (FROM_MIDDLE @ y / (256 * (256**2 - 1) / 12))


def evaluate(intervals):
    """All figures of the newest window, by the names of the expected files."""
    buffer = last_80_s(intervals)
    if not buffer:
        return {"status": "warmup"}
    t, d, v, flags, gaps = cleaned(buffer)
    if t[0] > -63_750:
        return {"status": "warmup"}
    window = t > -64_000
    wv, wf, wg = v[window], flags[window], gaps[window]
    out = {"artefact_pct": 100 * wf.sum() / len(wf)}
    kept = wv[~wf]
    pairs = np.diff(wv)[~wf[1:] & ~wf[:-1] & (wg[1:] <= 0)]
    if len(kept) > 1:
        out["mean_hr"] = 60_000 / kept.mean()
        out["sdnn"] = kept.std(ddof=1)
    if len(pairs):
        out["rmssd"] = math.sqrt((pairs**2).mean())
        out["pnn50"] = 100 * (np.abs(pairs) > 50).mean()
    if out["artefact_pct"] > 15:
        return out | {"status": "poor"}
    y = sampled(t, v)
    if y.std() < 1.0:
        return out | {"status": "flat", "score": 0.0}
    x = np.fft.rfft(TAPER * y, 1024)
    p = x.real**2 + x.imag**2
    peak = 11 + int(np.argmax(p[11:67]))
    total = 0.5 * p[0] + p[1:102].sum() + 0.9 * p[102]
    around = p[peak - 3 : peak + 4].sum() + 0.34 * (p[peak - 4] + p[peak + 4])
    lf = (0.26 * p[10] + p[11:38].sum() + 0.9 * p[38]) / 65536
    hf = (0.1 * p[38] + p[39:102].sum() + 0.9 * p[102]) / 65536
    return out | {
        "status": "good" if out["artefact_pct"] <= 5 else "fair",
        "score": min(100.0, 100 * around / total),
        "peak_hz": peak / 256,
        "lf": lf,
        "hf": hf,
        "lf_hf": lf / hf,
        "total": total / 65536,
    }


def read(name):
    """Intervals of a series, and the rows that are expected of it."""
    with open(SERIES / f"{name}.rr.csv") as file:
        intervals = [(float(row["rr_ms"]), float(row.get("gap_ms") or 0)) for row in csv.DictReader(file)]
    with open(SERIES / f"{name}.expected.csv") as file:
        return intervals, list(csv.DictReader(file))


def check():
    """Every tick of every series against its expected row."""
    names = sorted(path.name.removesuffix(".rr.csv") for path in SERIES.glob("*.rr.csv"))
    rows = repaired = repaired_off = 0
    farthest = 0.0
    for name in names:
        intervals, expected = read(name)
        for row in expected:
            ours = evaluate(intervals[: int(row["n_beats"])])
            where = f"{name} at {row['tick_s']} s"
            assert ours["status"] == row["status"], f"{where}: {ours['status']} instead of {row['status']}"
            rows += 1
            if not row["score"]:
                continue
            off = abs(ours["score"] - float(row["score"]))
            if float(row["artefact_pct"] or 0) == 0:
                assert off <= 0.01, f"{where}: {ours['score']} instead of {row['score']}"
                farthest = max(farthest, off)
            else:
                repaired += 1
                repaired_off += off > 0.01
            for column in ("artefact_pct", "peak_hz", "mean_hr", "sdnn", "rmssd", "pnn50", "lf", "hf", "total"):
                if row[column] and off <= 0.01:
                    theirs = float(row[column])
                    assert abs(ours[column] - theirs) <= 1e-6 + 2e-6 * abs(theirs), f"{where}: {column} {ours[column]}"
    print(
        f"{len(names)} series, {rows} ticks: every status as expected; clean windows at most {farthest:.6f} off; "
        f"of {repaired} repaired ones {repaired_off} more than 0.01"
    )


def time_case(case, rounds):
    windows = []
    for name in CASES[case]:
        intervals, expected = read(name)
        for row in expected:
            clean = float(row["artefact_pct"] or 0) == 0
            if row["score"] and (clean or case != "clean"):
                # As the room keeps them: no more than a score needs.
                windows.append(last_80_s(intervals[: int(row["n_beats"])]))
    best = math.inf
    for _ in range(rounds):
        begin = time.perf_counter_ns()
        for window in windows:
            evaluate(window)
        best = min(best, (time.perf_counter_ns() - begin) / len(windows))
    print(round(best))


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        check()
    elif len(sys.argv) == 4 and sys.argv[1] == "time" and sys.argv[2] in CASES:
        time_case(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(__doc__)
