// Every sentence of this page. Keys as in the design's texts; {name} stands for a value.

const TEXTS = {
  'session.preparation': 'Arriving', 'session.active': 'Breathing together', 'session.integration': 'Resting', 'session.complete': 'The session is complete',
  'session.next': 'The next session begins by itself at {time}.', 'session.until.preparation': 'Breathing together begins in {time}.', 'session.until.active': 'Resting begins at {time}.',
  'phase.low': 'Wandering', 'phase.medium': 'Gathering', 'phase.high': 'In rhythm',
  'room.low.means': 'The hearts’ rhythms follow many things at once.', 'room.medium.means': 'One rhythm begins to lead.', 'room.high.means': 'One slow, steady rhythm leads.',
  'group.give': 'give or take {e}', 'group.give.none': 'No error bar: not every score comes with one.', 'group.peak': 'Highest in this session: {n}.',
  'group.people.one': 'person here', 'group.people.other': 'people here', 'group.hearts.one': 'heart scored', 'group.hearts.other': 'hearts scored',
  'group.few.one': '{n} heart so far', 'group.few.other': '{n} hearts so far', 'group.few.why': 'The room’s figures are shown from three hearts on, so that no single heart can be read from them.',
  'group.none': 'No scores yet', 'group.none.why': 'Put on a chest strap. A score needs about 65 seconds of beats.',
  'group.spread.few': 'How the hearts differ is shown from five hearts on.',
  'group.beyond': '{n}, beyond chance (0 to {c}).', 'group.chance': '{n}, as by chance (0 to {c}).', 'group.together.none': 'Shown once three hearts have been heard for about a minute.',
  'group.level': '{n} of {of}', 'age': 'Figures from {time} ago.', 'age.straps': 'As it was {time} ago.',
  'link.first': 'Finding the hub', 'link.first.why': 'The page is looking for the hub of this room.', 'link.lost': 'Finding the hub again. The clock goes on.', 'link.back': 'Connected again.',
  'straps.none': 'No strap has been heard yet. Put one on: it wakes up on the skin.',
  'straps.counts.hand.one': '{n} needs a hand', 'straps.counts.hand.other': '{n} need a hand', 'straps.counts.self.one': '{n} helps itself', 'straps.counts.self.other': '{n} help themselves', 'straps.counts.well.one': '{n} is well', 'straps.counts.well.other': '{n} are well',
  'straps.away.one': '{n} more strap is known and not heard now', 'straps.away.other': '{n} more straps are known and not heard now',
  'strap.free': 'worn by no one yet',
  'strap.well': 'Heard well.', 'strap.warming_up': 'Being heard. Its first score comes after about 65 seconds of beats.',
  'strap.connecting': 'The hub is connecting to it.', 'strap.seen': 'Seen, not connected yet.',
  'strap.silent': 'The strap has gone quiet.', 'strap.silent.do': 'Press it flat against the skin, under the chest muscle. Still quiet? Wet the two pads.',
  'strap.off_body': 'Beats, but no skin contact.', 'strap.off_body.do': 'Wet the two pads and tighten the strap until it stays when you breathe out.',
  'strap.poor_signal': 'Too many beats are unclear.', 'strap.poor_signal.do': 'Sit still for a minute, or tighten the strap one notch.',
  'strap.flat': 'The beats are perfectly even, as if counted by a machine.', 'strap.flat.do': 'Check that the strap is on a chest and not on a table.',
  'strap.lost': '{strap} has gone quiet.', 'strap.back': '{strap} is heard again.',
  'battery': '{n} %', 'battery.read': 'battery {n} %', 'battery.weak': 'battery weak, {n} %',
};

/** The sentence for a key; an unknown key is returned as it is, so that it is seen. */
export function say(key, values = {}) {
  return (TEXTS[key] || key).replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** The sentence that fits a number. */
export const count = (key, n, values = {}) => say(`${key}.${n === 1 ? 'one' : 'other'}`, { n, ...values });

/** Whether there is a sentence for a key. */
export const has = (key) => key in TEXTS;

/** A duration as m:ss. */
export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
}

/** A time of day. */
export const oclock = (ms) => new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' }).format(new Date(ms));
