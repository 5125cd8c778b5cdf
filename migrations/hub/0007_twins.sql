-- One strap that is heard over two radios.

-- Which radio delivered an interval; empty: that of strap_no itself.
ALTER TABLE rr ADD COLUMN via_strap_no INTEGER REFERENCES strap (strap_no);

-- Two entries of the registry that are one strap, as told by equal intervals or by the facilitator; and
-- those that are not, though it was once thought so.
CREATE TABLE twins (
    low_strap_no  INTEGER NOT NULL REFERENCES strap (strap_no) ON DELETE CASCADE,
    high_strap_no INTEGER NOT NULL REFERENCES strap (strap_no) ON DELETE CASCADE,
    one           INTEGER NOT NULL CHECK (one IN (0, 1)), -- 1: one strap; 0: two
    boot_no       INTEGER NOT NULL REFERENCES boot (boot_no), -- when that was told last
    mono_ms       INTEGER NOT NULL,
    wall_ms       INTEGER NOT NULL,
    wall_synced   INTEGER NOT NULL CHECK (wall_synced IN (0, 1)),
    PRIMARY KEY (low_strap_no, high_strap_no),
    CHECK (low_strap_no < high_strap_no)
) STRICT, WITHOUT ROWID;
