"""PURE. What was delivered against what the hub stored, interval by interval.

The intervals of one strap follow a fixed row of WIDTH different values, over and over. So each says by
itself which it is, as long as fewer than half of WIDTH are lost at once (AHEAD): loss, doubling and order can
be told from the values alone.

>>> sent = [ticks(3, beat) for beat in range(900)]
>>> compare(sent, [(value, 0.0) for value in sent]).lost
[]
>>> after_a_break = [(sent[102], 5.0)] + [(value, 0.0) for value in sent[103:]]
>>> account = compare(sent, [(value, 0.0) for value in sent[:100]] + after_a_break)
>>> account.lost, account.breaks
([(100, 2)], [102])
>>> compare(sent, [(value, 0.0) for value in sent[:5] + sent[4:]]).foreign
[5]
>>> compare(sent, [(value, 0.0) for value in (sent[1], sent[0], *sent[2:])]).foreign
[1]
>>> compare(sent, [(value, 0.0) for value in sent[:700]]).reached
700
>>> missing_ms(3, sent[99], sent[102]) == (sent[100] + sent[101]) * 1000 / 1024
True
"""

from dataclasses import dataclass, field

# Primes; the values are 547 to 1338 ms, no jump except where the row begins again.
WIDTH = 811
STEP = 17
SHORTEST = 560
AHEAD = WIDTH // 2


def ticks(strap, beat):
    """The interval that ends with this beat, in 1/1024 s."""
    return SHORTEST + (strap * 37 + beat * STEP) % WIDTH


@dataclass
class Account:
    # So many of the delivered are accounted for; the others may still be under way.
    reached: int = 0
    # (place among the delivered, how many): delivered and not stored.
    lost: list = field(default_factory=list)
    # Places among the stored: stored twice, out of order, or never sent.
    foreign: list = field(default_factory=list)
    # Places among the delivered before which the hub marked a break, the place of what is stored before it, and
    # how much time it says is missing in between.
    breaks: list = field(default_factory=list)
    resumed_after: list = field(default_factory=list)
    missing_ms: list = field(default_factory=list)


def compare(delivered, stored):
    """`delivered`: ticks, in order. `stored`: (ticks, gap before it in ms), in order."""
    account = Account()
    at = 0
    for place, (value, gap_ms) in enumerate(stored):
        try:
            found = delivered.index(value, at, at + AHEAD)
        except ValueError:
            account.foreign.append(place)
            continue
        if found > at:
            account.lost.append((at, found - at))
        if gap_ms > 0:
            account.breaks.append(found)
            account.resumed_after.append(at - 1)
            account.missing_ms.append(gap_ms)
        at = found + 1
    account.reached = at
    return account


def missing_ms(strap, before, after):
    """How long the heart beat unheard between these two intervals."""
    beat = (before - SHORTEST - strap * 37) * pow(STEP, -1, WIDTH) % WIDTH
    unheard = 0
    while (value := ticks(strap, beat := beat + 1)) != after:
        unheard += value
    return unheard * 1000 / 1024
