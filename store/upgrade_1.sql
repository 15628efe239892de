-- Version 2 keeps the highest fence of each GPU in a table of its own: a restarted agent is told
-- them, and they must outlive the leases that they came from.
CREATE TABLE fences (
    gpu   TEXT PRIMARY KEY, -- UUID
    fence INTEGER NOT NULL CHECK (fence > 0) -- highest number that a lease of it had
) STRICT, WITHOUT ROWID;
INSERT INTO fences (gpu, fence)
    SELECT g.gpu, max(l.fence) FROM lease_gpus g JOIN leases l ON l.id = g.lease GROUP BY g.gpu;
PRAGMA user_version = 2;
