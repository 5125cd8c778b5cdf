-- The registry of straps: what a strap says of itself, when it was heard last, and numbers that rest.
--
-- A row is never deleted, because to check that nothing names it all of rr would have to be read. A
-- forgotten strap leaves an empty row (identity ''), which the next stranger of that number fills.

ALTER TABLE strap ADD COLUMN manufacturer TEXT;     -- all five as the strap says
ALTER TABLE strap ADD COLUMN model TEXT;
ALTER TABLE strap ADD COLUMN serial TEXT;           -- never leaves the hub
ALTER TABLE strap ADD COLUMN firmware TEXT;
ALTER TABLE strap ADD COLUMN location TEXT;         -- chest, wrist, finger, hand, ear_lobe, foot, other
ALTER TABLE strap ADD COLUMN origin TEXT;           -- how its beats are told: electrical, pulse, computed, simulated; empty: unknown
ALTER TABLE strap ADD COLUMN battery_pct INTEGER;   -- per cent, as it said last; all five empty: it never did
ALTER TABLE strap ADD COLUMN battery_boot_no INTEGER REFERENCES boot (boot_no);
ALTER TABLE strap ADD COLUMN battery_mono_ms INTEGER;
ALTER TABLE strap ADD COLUMN battery_wall_ms INTEGER;
ALTER TABLE strap ADD COLUMN battery_wall_synced INTEGER CHECK (battery_wall_synced IN (0, 1));
ALTER TABLE strap ADD COLUMN last_seen_boot_no INTEGER REFERENCES boot (boot_no); -- heard last; written once a session
ALTER TABLE strap ADD COLUMN last_seen_mono_ms INTEGER;
ALTER TABLE strap ADD COLUMN last_seen_wall_ms INTEGER;
ALTER TABLE strap ADD COLUMN last_seen_wall_synced INTEGER CHECK (last_seen_wall_synced IN (0, 1));
ALTER TABLE strap ADD COLUMN used INTEGER NOT NULL DEFAULT 0 CHECK (used IN (0, 1)); -- 1: it delivered a beat or was worn
ALTER TABLE strap ADD COLUMN forgotten_boot_no INTEGER REFERENCES boot (boot_no); -- since when its number rests; all four empty: it does not
ALTER TABLE strap ADD COLUMN forgotten_mono_ms INTEGER;
ALTER TABLE strap ADD COLUMN forgotten_wall_ms INTEGER;
ALTER TABLE strap ADD COLUMN forgotten_wall_synced INTEGER CHECK (forgotten_wall_synced IN (0, 1));

-- Whether those from before delivered beats is not asked of all of rr: they are kept as if they had. When
-- they were heard last is not known: their time runs from the newest session on.
UPDATE strap SET used = 1, last_seen_boot_no = first_seen_boot_no, last_seen_mono_ms = first_seen_mono_ms,
    last_seen_wall_ms = first_seen_wall_ms, last_seen_wall_synced = first_seen_wall_synced;
UPDATE strap SET (last_seen_boot_no, last_seen_mono_ms, last_seen_wall_ms, last_seen_wall_synced) =
    (SELECT boot_no, start_mono_ms, start_wall_ms, wall_synced FROM session ORDER BY boot_no DESC, start_mono_ms DESC LIMIT 1)
    WHERE EXISTS (SELECT 1 FROM session);
