-- The hub's memory. Forward only: never edited after a release.
--
-- Every moment is kept on both clocks: `…boot_no` says which start of the operating system
-- `…mono_ms` (milliseconds since that start) belongs to; `…wall_ms` is hub time in Unix
-- milliseconds by the offset in use then; `…wall_synced` (0 or 1) says whether that was known to be
-- right. (boot_no, mono_ms) orders all moments, whatever the wall clock did, and lets wall times be
-- mended later. Words are those of the product: strap, rr, participant, participation, claim,
-- consent, session, score, group.

-- One row for each start of the operating system in which the hub ran, in their order.
CREATE TABLE boot (
    boot_no           INTEGER PRIMARY KEY AUTOINCREMENT,
    os_boot_id        TEXT    NOT NULL,           -- as the kernel names this start
    start_mono_ms     INTEGER NOT NULL,           -- when the hub first ran in it
    start_wall_ms     INTEGER NOT NULL,
    start_wall_synced INTEGER NOT NULL CHECK (start_wall_synced IN (0, 1)),
    synced_offset_ms  INTEGER                     -- wall minus monotonic time, once known to be right: mends unsynced wall times
) STRICT;

-- What makes this hub this hub. Exactly one row.
CREATE TABLE meta (
    only_row            INTEGER PRIMARY KEY CHECK (only_row = 1),
    hub_id              TEXT    NOT NULL,         -- random UUID, made at the first start
    hub_key             BLOB    NOT NULL CHECK (length(hub_key) = 32), -- key of the phones' tokens; secret
    pin                 TEXT    NOT NULL CHECK (length(pin) = 6),      -- the facilitator's; secret
    created_boot_no     INTEGER NOT NULL REFERENCES boot (boot_no),
    created_mono_ms     INTEGER NOT NULL,
    created_wall_ms     INTEGER NOT NULL,
    created_wall_synced INTEGER NOT NULL CHECK (created_wall_synced IN (0, 1)),
    high_rr_id          INTEGER NOT NULL DEFAULT 0, -- highest numbers that were ever deleted: numbers
    high_claim_no       INTEGER NOT NULL DEFAULT 0  -- count up over the life of the database
) STRICT;

-- The sessions of the room.
CREATE TABLE session (
    session_no    INTEGER PRIMARY KEY AUTOINCREMENT, -- short name for use inside this file only
    session_id    TEXT    NOT NULL UNIQUE,        -- 20261120T0945Z, or b<boot>-<n> without a known time
    boot_no       INTEGER NOT NULL REFERENCES boot (boot_no),
    start_mono_ms INTEGER NOT NULL,
    end_mono_ms   INTEGER NOT NULL,
    start_wall_ms INTEGER NOT NULL,
    end_wall_ms   INTEGER NOT NULL,
    offset_ms     INTEGER NOT NULL,               -- hub time minus monotonic time while it ran
    wall_synced   INTEGER NOT NULL CHECK (wall_synced IN (0, 1))
) STRICT;
CREATE INDEX session_by_moment ON session (boot_no, start_mono_ms);

-- The registry of straps.
CREATE TABLE strap (
    strap_no               INTEGER PRIMARY KEY,   -- the room's number, from 1
    identity               TEXT    NOT NULL,      -- how it is recognised again; may hold a radio address, never leaves the hub
    label                  TEXT    NOT NULL,      -- what is written on it: strap 7
    name                   TEXT,                  -- as the strap names itself
    first_seen_boot_no     INTEGER NOT NULL REFERENCES boot (boot_no),
    first_seen_mono_ms     INTEGER NOT NULL,
    first_seen_wall_ms     INTEGER NOT NULL,
    first_seen_wall_synced INTEGER NOT NULL CHECK (first_seen_wall_synced IN (0, 1))
) STRICT;

-- The people of the room. A number is never given twice, so a stray row can't become somebody else's.
CREATE TABLE participant (
    participant_no    INTEGER PRIMARY KEY AUTOINCREMENT, -- short name for use inside this file only
    participant_id    TEXT    NOT NULL UNIQUE,    -- random UUID (version 4)
    name              TEXT,
    intention         TEXT,
    since_boot_no     INTEGER NOT NULL REFERENCES boot (boot_no),
    since_mono_ms     INTEGER NOT NULL,
    since_wall_ms     INTEGER NOT NULL,
    since_wall_synced INTEGER NOT NULL CHECK (since_wall_synced IN (0, 1))
) STRICT;

-- One participant in one session.
CREATE TABLE participation (
    session_no         INTEGER NOT NULL REFERENCES session (session_no),
    participant_no     INTEGER NOT NULL REFERENCES participant (participant_no) ON DELETE CASCADE,
    joined_boot_no     INTEGER NOT NULL REFERENCES boot (boot_no),
    joined_mono_ms     INTEGER NOT NULL,
    joined_wall_ms     INTEGER NOT NULL,
    joined_wall_synced INTEGER NOT NULL CHECK (joined_wall_synced IN (0, 1)),
    left_boot_no       INTEGER REFERENCES boot (boot_no), -- all four empty while present
    left_mono_ms       INTEGER,
    left_wall_ms       INTEGER,
    left_wall_synced   INTEGER CHECK (left_wall_synced IN (0, 1)),
    PRIMARY KEY (session_no, participant_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX participation_by_participant ON participation (participant_no);

-- Who wore which strap: the half-open interval from … until.
CREATE TABLE claim (
    claim_no          INTEGER PRIMARY KEY,
    participant_no    INTEGER NOT NULL REFERENCES participant (participant_no) ON DELETE CASCADE,
    strap_no          INTEGER NOT NULL REFERENCES strap (strap_no),
    from_boot_no      INTEGER NOT NULL REFERENCES boot (boot_no),
    from_mono_ms      INTEGER NOT NULL,
    from_wall_ms      INTEGER NOT NULL,
    from_wall_synced  INTEGER NOT NULL CHECK (from_wall_synced IN (0, 1)),
    until_boot_no     INTEGER REFERENCES boot (boot_no), -- all four empty while the claim holds
    until_mono_ms     INTEGER,
    until_wall_ms     INTEGER,
    until_wall_synced INTEGER CHECK (until_wall_synced IN (0, 1))
) STRICT;
CREATE INDEX claim_by_participant ON claim (participant_no);

-- Consents given and withdrawn; only ever appended.
CREATE TABLE consent (
    consent_no     INTEGER PRIMARY KEY,
    participant_no INTEGER NOT NULL REFERENCES participant (participant_no) ON DELETE CASCADE,
    scope          TEXT    NOT NULL,              -- display, store, sync, research, publish
    granted        INTEGER NOT NULL CHECK (granted IN (0, 1)), -- 0: withdrawn
    text_version   TEXT    NOT NULL,              -- of the text that was shown
    boot_no        INTEGER NOT NULL REFERENCES boot (boot_no),
    mono_ms        INTEGER NOT NULL,
    wall_ms        INTEGER NOT NULL,
    wall_synced    INTEGER NOT NULL CHECK (wall_synced IN (0, 1))
) STRICT;
CREATE INDEX consent_by_participant ON consent (participant_no);

-- R-R intervals as they were placed, in the order of arrival, for all hearts together: appending
-- spares the SD card (an order or an index by strap costs 7 to 10 times the writes). What is asked of
-- it is always a stretch of time, found by halving rr_id, because time grows with it.
-- phone_no and score.participant_no are participant numbers without a REFERENCES: to check one, each
-- erasure would have to read the whole table.
CREATE TABLE rr (
    rr_id        INTEGER PRIMARY KEY,
    strap_no     INTEGER REFERENCES strap (strap_no), -- the strap that sent it, or
    phone_no     INTEGER,                         -- the participant whose phone sent it
    rr_ms        REAL    NOT NULL,                -- the interval, exact
    gap_ms       REAL    NOT NULL,                -- time lost before it; 0 almost always
    begins       INTEGER NOT NULL CHECK (begins IN (0, 1)), -- 1: another person's heart begins here; no window reaches back beyond
    mark         TEXT    NOT NULL,                -- accepted, implausible: on the tachogram; suspect, off_body, zero: not
    beat_mono_ms REAL    NOT NULL,                -- end of the interval by the chain of intervals, same boot
    boot_no      INTEGER NOT NULL REFERENCES boot (boot_no), -- when its bytes were read
    mono_ms      INTEGER NOT NULL,
    wall_ms      INTEGER NOT NULL,
    wall_synced  INTEGER NOT NULL CHECK (wall_synced IN (0, 1)),
    CHECK ((strap_no IS NULL) <> (phone_no IS NULL))
) STRICT;

-- Evaluations of single hearts at the grid points, with their proof; appended like rr.
CREATE TABLE score (
    score_no        INTEGER PRIMARY KEY,
    session_no      INTEGER NOT NULL REFERENCES session (session_no),
    strap_no        INTEGER REFERENCES strap (strap_no), -- the heart: a strap, or
    phone_no        INTEGER,                      -- a participant's phone
    participant_no  INTEGER,                      -- who wore it; empty: nobody had claimed it
    score           REAL,                         -- 0 to 100; empty where there is a reason
    level           TEXT,                         -- low, medium, high
    reason          TEXT,                         -- warming_up, poor_signal, flat, silent, off_body
    status          TEXT,                         -- of the signal: warmup, good, fair, poor, flat; empty: a phone computed it
    last_rr_id      INTEGER,                      -- last rr that went into it; the window lies before it
    beats           INTEGER NOT NULL,             -- number of beats in the window
    coverage        REAL    NOT NULL,             -- share of the window covered by intervals, 0 to 1
    artefact_pct    REAL,                         -- share of repaired beats, per cent
    age_ms          INTEGER,                      -- of the newest beat
    peak_hz         REAL,
    mean_hr_bpm     REAL,                         -- beats per minute
    sdnn_ms         REAL,
    rmssd_ms        REAL,
    pnn50_pct       REAL,
    lf_ms2          REAL,                         -- power, ms squared
    hf_ms2          REAL,
    lf_hf           REAL,                         -- ratio without unit
    total_ms2       REAL,
    algorithm       INTEGER,                      -- version of the score's definition; empty: a phone computed it
    boot_no         INTEGER NOT NULL REFERENCES boot (boot_no), -- the grid point
    mono_ms         INTEGER NOT NULL,
    wall_ms         INTEGER NOT NULL,
    wall_synced     INTEGER NOT NULL CHECK (wall_synced IN (0, 1)),
    CHECK ((strap_no IS NULL) <> (phone_no IS NULL))
) STRICT;

-- The group at the grid points, exact, before suppression. The key grows with time: it appends too.
CREATE TABLE group_score (
    session_no   INTEGER NOT NULL REFERENCES session (session_no),
    boot_no      INTEGER NOT NULL REFERENCES boot (boot_no), -- the grid point
    mono_ms      INTEGER NOT NULL,
    wall_ms      INTEGER NOT NULL,
    wall_synced  INTEGER NOT NULL CHECK (wall_synced IN (0, 1)),
    average      REAL,                            -- mean of the present scores, 0 to 100
    low          INTEGER NOT NULL,                -- hearts by level
    medium       INTEGER NOT NULL,
    high         INTEGER NOT NULL,
    participants INTEGER NOT NULL,                -- people present
    scored       INTEGER NOT NULL,                -- hearts with a score
    hearts       INTEGER NOT NULL,                -- hearts that count towards the threshold of suppression
    suppressed   INTEGER NOT NULL CHECK (suppressed IN (0, 1)), -- 1: the public saw no figures
    PRIMARY KEY (session_no, boot_no, mono_ms)
) STRICT, WITHOUT ROWID;

-- That an erasure was done, and when; nothing of whom.
CREATE TABLE erasure (
    erasure_id  TEXT    PRIMARY KEY,              -- random receipt
    boot_no     INTEGER NOT NULL REFERENCES boot (boot_no),
    mono_ms     INTEGER NOT NULL,
    wall_ms     INTEGER NOT NULL,
    wall_synced INTEGER NOT NULL CHECK (wall_synced IN (0, 1))
) STRICT, WITHOUT ROWID;
