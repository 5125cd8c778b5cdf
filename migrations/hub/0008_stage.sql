-- What sessions play: one row for the stage of the room, and one for each named session that is open.

CREATE TABLE stage (
    name           TEXT    PRIMARY KEY,           -- of a named session, as people gave it; empty: the room's
    session_id     TEXT    NOT NULL,              -- the room's session in which it was written
    opened_wall_ms INTEGER NOT NULL,              -- when it was opened
    state          TEXT    NOT NULL,              -- playing, paused
    position_ms    REAL    NOT NULL,              -- where it was at that moment
    rate           REAL    NOT NULL,              -- ms of position per ms
    at_boot_no     INTEGER NOT NULL REFERENCES boot (boot_no), -- that moment
    at_mono_ms     INTEGER NOT NULL,
    at_wall_ms     INTEGER NOT NULL,
    at_wall_synced INTEGER NOT NULL CHECK (at_wall_synced IN (0, 1)),
    version        INTEGER NOT NULL,              -- higher with every change
    tempo          REAL    NOT NULL,              -- turns per minute: breaths of the room, beats of a named session
    scene          TEXT    NOT NULL,              -- stage, rest
    message        TEXT,                          -- of the leader to all
    message_wall_ms INTEGER,                      -- since when it stands
    leader         TEXT                           -- id of the participant who leads, where one does
) STRICT, WITHOUT ROWID;
