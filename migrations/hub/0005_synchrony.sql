-- How much the hearts of the room move together.

-- All three empty: fewer than two hearts could be compared.
ALTER TABLE group_score ADD COLUMN synchrony REAL;           -- index, 0 to 100; 0 by chance
ALTER TABLE group_score ADD COLUMN chance_high REAL;         -- what these hearts reach by chance, 95 times in 100; 0 to 100
ALTER TABLE group_score ADD COLUMN synchrony_hearts INTEGER; -- the hearts in it, counted as in hearts

-- Two people whose hearts moved together (phase-locking value of 0.70 or more over the last minute), at
-- the grid points of whole minutes of a session; appended like rr. Participants without a REFERENCES
-- for the same reason. No row: the two did not, or one of them could not be compared.
CREATE TABLE pair (
    pair_no          INTEGER PRIMARY KEY,
    session_no       INTEGER NOT NULL REFERENCES session (session_no),
    a_participant_no INTEGER NOT NULL,
    b_participant_no INTEGER NOT NULL,
    plv              REAL    NOT NULL,            -- phase-locking value, without unit, up to 1
    lag_rad          REAL    NOT NULL,            -- by how much a is ahead of b, radians of their common rhythm
    boot_no          INTEGER NOT NULL REFERENCES boot (boot_no), -- the grid point
    mono_ms          INTEGER NOT NULL,
    wall_ms          INTEGER NOT NULL,
    wall_synced      INTEGER NOT NULL CHECK (wall_synced IN (0, 1))
) STRICT;
