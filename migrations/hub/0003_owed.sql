-- What is owed to people who withdrew or were erased, and how far messages were handed out.

-- Whose series are still to be taken out of waiting messages and dead letters. Nothing of them leaves
-- meanwhile. Weeks of messages are too many for the transaction that promises it.
CREATE TABLE owed (
    participant_no INTEGER PRIMARY KEY,           -- of an erased person only this number is left, until it is done
    next_seq       INTEGER NOT NULL,              -- messages before it are done
    upto_seq       INTEGER NOT NULL               -- later ones were queued after it, on another consent
) STRICT;

-- Under which names they stand in those messages.
CREATE TABLE owed_pseudonym (
    participant_no INTEGER NOT NULL REFERENCES owed (participant_no) ON DELETE CASCADE,
    pseudonym      TEXT    NOT NULL,
    PRIMARY KEY (participant_no, pseudonym)
) STRICT, WITHOUT ROWID;

-- No message with a higher number was ever handed out in this epoch: who acknowledges one has it from
-- another life of this database.
ALTER TABLE uplink ADD COLUMN handed_upto INTEGER NOT NULL DEFAULT 0;
UPDATE uplink SET handed_upto = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0);
