-- What holding fast takes, each part under its own heading.

-- History: how the hub did, a row for each minute in which it ran, the newest day of them. No row
-- says anything of a person.
CREATE TABLE history (
    minute_no             INTEGER PRIMARY KEY,       -- counts up in the order of writing
    at_boot_no            INTEGER NOT NULL REFERENCES boot (boot_no), -- the end of the minute
    at_mono_ms            INTEGER NOT NULL,
    at_wall_ms            INTEGER NOT NULL,
    at_wall_synced        INTEGER NOT NULL CHECK (at_wall_synced IN (0, 1)),
    sessions              INTEGER NOT NULL,          -- sessions in their active phase, at the end
    participants          INTEGER NOT NULL,          -- people present, at the end
    connections           INTEGER NOT NULL,          -- open connections, at the end
    frames_in             INTEGER NOT NULL,          -- WebSocket frames from phones
    frames_out            INTEGER NOT NULL,          -- WebSocket frames to phones
    update_latency_p95_ms REAL,                      -- from a grid point to the phone's socket, 95 of 100 within; null: no update
    update_latency_max_ms REAL,                      -- the slowest of them
    commit_max_ms         REAL    NOT NULL,          -- the slowest commit
    compute_max_ms        REAL    NOT NULL,          -- the slowest scoring of all hearts
    memory_bytes          INTEGER NOT NULL,          -- resident, at the end
    cpu_pct               REAL    NOT NULL,          -- processor time, percent of one core
    errors                INTEGER NOT NULL,          -- failed answers and commits, lost rows and grid points
    outbox_rows           INTEGER NOT NULL           -- messages that waited for the central store, at the end
) STRICT;

-- PIN tries
-- Wrong tries at what can be guessed, so that a restart frees no guesser. An address goes with its
-- right try, with others' tries when its wait is over, and with privacy.keep_days at the latest.
CREATE TABLE guess (
    door             TEXT    NOT NULL,            -- pin, room_code
    address          TEXT    NOT NULL,            -- the guesser's: IPv4, or a /64 network of IPv6; empty: all together in the present hour
    wrong            INTEGER NOT NULL,            -- wrong tries without a right one in between
    wait_ms          INTEGER NOT NULL,            -- the wait that began with the last of them; 0: none
    last_boot_no     INTEGER NOT NULL REFERENCES boot (boot_no), -- the last of them; of all together: the hour's begin
    last_mono_ms     INTEGER NOT NULL,
    last_wall_ms     INTEGER NOT NULL,
    last_wall_synced INTEGER NOT NULL CHECK (last_wall_synced IN (0, 1)),
    PRIMARY KEY (door, address)
) STRICT, WITHOUT ROWID;

-- Tokens
-- What programs show to be let in, made by the admin. The text of a token is nowhere on this hub.
CREATE TABLE token (
    name                TEXT    PRIMARY KEY,      -- by which it is taken back
    scope               TEXT    NOT NULL,         -- what it opens: metrics
    hash                BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32), -- SHA-256 of its text
    days                INTEGER NOT NULL,         -- good for so long
    created_boot_no     INTEGER NOT NULL REFERENCES boot (boot_no),
    created_mono_ms     INTEGER NOT NULL,
    created_wall_ms     INTEGER NOT NULL,
    created_wall_synced INTEGER NOT NULL CHECK (created_wall_synced IN (0, 1)),
    used_boot_no        INTEGER REFERENCES boot (boot_no), -- last used, by the hour; all four empty: never
    used_mono_ms        INTEGER,
    used_wall_ms        INTEGER,
    used_wall_synced    INTEGER CHECK (used_wall_synced IN (0, 1))
) STRICT, WITHOUT ROWID;

-- Goodbyes
-- Who has said goodbye takes part again by joining only, also after a restart.
ALTER TABLE participant ADD COLUMN has_left INTEGER NOT NULL DEFAULT 0 CHECK (has_left IN (0, 1));

-- The way upstream: what waits to be sent, who is in it, and how far everything was queued.

-- How far the way upstream has come. Exactly one row.
CREATE TABLE uplink (
    only_row          INTEGER PRIMARY KEY CHECK (only_row = 1),
    epoch             INTEGER NOT NULL,           -- random, below 2^53: another database numbers anew
    acked_upto        INTEGER NOT NULL DEFAULT 0, -- the centre has all up to this number
    study             TEXT,                       -- for which was queued last; empty: nothing ever was
    built_boot_no     INTEGER REFERENCES boot (boot_no), -- minutes before this moment are queued; all four empty: none is
    built_mono_ms     INTEGER,
    built_wall_ms     INTEGER,
    built_wall_synced INTEGER CHECK (built_wall_synced IN (0, 1)),
    built_rr_id       INTEGER NOT NULL DEFAULT 0, -- the last that was looked at of each table
    built_score_no    INTEGER NOT NULL DEFAULT 0,
    built_session_no  INTEGER NOT NULL DEFAULT 0,
    built_consent_no  INTEGER NOT NULL DEFAULT 0,
    fixed_boot_no     INTEGER NOT NULL DEFAULT 0, -- the boot whose clock was told to have been set right
    waiting           INTEGER NOT NULL DEFAULT 0, -- rows of outbox
    waiting_bytes     INTEGER NOT NULL DEFAULT 0, -- bytes of their bodies
    thinned           INTEGER NOT NULL DEFAULT 0  -- messages dropped because too much waited, or for too long
) STRICT;
INSERT INTO uplink (only_row, epoch) VALUES (1, 1 + (random() & 9007199254740990));

-- One row, one message. Its number is never given twice. That it was sent is not kept here: sending it
-- again does no harm.
CREATE TABLE outbox (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    stream      TEXT    NOT NULL,                 -- session, group, coherence, rr, consent, erasure, gap, event
    body        BLOB    NOT NULL,                 -- gzip of JSON, still without epoch and number
    boot_no     INTEGER NOT NULL REFERENCES boot (boot_no), -- when it was queued
    mono_ms     INTEGER NOT NULL,
    wall_ms     INTEGER NOT NULL,
    wall_synced INTEGER NOT NULL CHECK (wall_synced IN (0, 1)),
    until_boot_no     INTEGER REFERENCES boot (boot_no), -- the end of the minute of which it tells, by which it ages; all four empty: it tells of none
    until_mono_ms     INTEGER,
    until_wall_ms     INTEGER,
    until_wall_synced INTEGER CHECK (until_wall_synced IN (0, 1))
) STRICT;
CREATE INDEX outbox_by_age ON outbox (stream, until_boot_no, until_mono_ms); -- what has waited too long
CREATE INDEX outbox_by_stream ON outbox (stream, seq); -- what is dropped first when too much waits

-- Whose series a message of outbox or dead_letter holds. It grows at its end, like outbox.
CREATE TABLE outbox_subject (
    seq            INTEGER NOT NULL,
    participant_no INTEGER NOT NULL,
    PRIMARY KEY (seq, participant_no)
) STRICT, WITHOUT ROWID;

-- Who ever had anything queued, and under which pseudonym.
CREATE TABLE subject (
    participant_no INTEGER NOT NULL REFERENCES participant (participant_no) ON DELETE CASCADE,
    pseudonym      TEXT    NOT NULL,
    study          TEXT    NOT NULL,
    since_seq      INTEGER NOT NULL,              -- nothing of this person lies before this number
    PRIMARY KEY (participant_no, pseudonym)
) STRICT, WITHOUT ROWID;

-- By which number a person's straps are told apart upstream.
CREATE TABLE subject_strap (
    participant_no INTEGER NOT NULL REFERENCES participant (participant_no) ON DELETE CASCADE,
    strap_no       INTEGER NOT NULL REFERENCES strap (strap_no),
    source         INTEGER NOT NULL,              -- from 1 for each person
    PRIMARY KEY (participant_no, strap_no)
) STRICT, WITHOUT ROWID;

-- What the centre will not take, kept for somebody to look at.
CREATE TABLE dead_letter (
    seq         INTEGER PRIMARY KEY,
    stream      TEXT    NOT NULL,
    body        BLOB    NOT NULL,                 -- as in outbox
    why         TEXT    NOT NULL,                 -- as the centre said
    boot_no     INTEGER NOT NULL REFERENCES boot (boot_no), -- when it was refused
    mono_ms     INTEGER NOT NULL,
    wall_ms     INTEGER NOT NULL,
    wall_synced INTEGER NOT NULL CHECK (wall_synced IN (0, 1)),
    until_boot_no     INTEGER REFERENCES boot (boot_no), -- the end of the minute of which it tells, by which it ages; all four empty: it tells of none
    until_mono_ms     INTEGER,
    until_wall_ms     INTEGER,
    until_wall_synced INTEGER CHECK (until_wall_synced IN (0, 1))
) STRICT;

-- Erasures of which the centre was told, and when it confirmed them.
CREATE TABLE erasure_told (
    seq                   INTEGER PRIMARY KEY,    -- of the message
    erasure_id            TEXT    NOT NULL REFERENCES erasure (erasure_id),
    confirmed_boot_no     INTEGER REFERENCES boot (boot_no), -- all four empty until then
    confirmed_mono_ms     INTEGER,
    confirmed_wall_ms     INTEGER,
    confirmed_wall_synced INTEGER CHECK (confirmed_wall_synced IN (0, 1))
) STRICT;
