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
