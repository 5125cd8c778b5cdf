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
