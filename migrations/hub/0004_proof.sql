-- Proof with every score: what it was made of and by what, so that it can be held to it.
-- Rows from before have none of it.

ALTER TABLE score ADD COLUMN standard_error REAL;       -- of score, points; empty where the definition tells none
ALTER TABLE score ADD COLUMN window_start_mono_ms REAL; -- the stretch that was looked at, by the chain of intervals, same boot
ALTER TABLE score ADD COLUMN window_end_mono_ms REAL;   -- its end, which is the end of the rr last_rr_id
ALTER TABLE score ADD COLUMN settings TEXT;             -- names the constants of that algorithm: 16 hexadecimal digits of the SHA-256 of their text

ALTER TABLE group_score ADD COLUMN standard_error REAL; -- of average, points; empty where one of the scores has none
ALTER TABLE group_score ADD COLUMN algorithm INTEGER;   -- version of the definition by which the hub made the scores
ALTER TABLE group_score ADD COLUMN settings TEXT;       -- its constants, as in score
