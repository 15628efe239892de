-- What kpland keeps. Times end in _ms: milliseconds since 1970 UTC for instants (shown to people,
-- never compared with a clock), plain milliseconds for durations. Texts in *body* are the JSON of
-- the messages of the same name, without what has columns of its own here.
PRAGMA application_id = 1263553614; -- 'KPLN'
PRAGMA user_version = 2;

CREATE TABLE counters (
    name  TEXT PRIMARY KEY CHECK (name IN ('fence', 'revision')), -- what is counted
    value INTEGER NOT NULL CHECK (value >= 0) -- last number given out; only ever rises
) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES ('fence', 0), ('revision', 0);

CREATE TABLE nodes (
    name       TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64), -- the agent's --node
    boot_epoch TEXT NOT NULL,    -- of the agent that reported last
    simulated  INTEGER NOT NULL CHECK (simulated IN (0, 1)), -- 1: invented or recorded
    state      TEXT NOT NULL CHECK (state IN ('ready', 'suspect', 'gone', 'draining')), -- when written
    revision   INTEGER NOT NULL CHECK (revision >= 0), -- cluster revision of this change
    seen_ms    INTEGER NOT NULL, -- when this change was seen
    body       TEXT NOT NULL CHECK (body LIKE '{%}') -- the node of kplan.nodes/1
) STRICT, WITHOUT ROWID;

CREATE TABLE gpus (
    uuid                  TEXT PRIMARY KEY CHECK (length(uuid) BETWEEN 1 AND 96), -- the card, or MIG slice
    node                  TEXT NOT NULL REFERENCES nodes (name), -- where it was reported last
    gpu_index             INTEGER NOT NULL CHECK (gpu_index >= 0), -- on that node
    name                  TEXT NOT NULL, -- key of the table of cards, or NVML's name
    total_bytes           INTEGER NOT NULL CHECK (total_bytes >= 0), -- memory of the card
    driver_reserved_bytes INTEGER NOT NULL CHECK (driver_reserved_bytes >= 0) -- held by the driver
) STRICT, WITHOUT ROWID;
CREATE INDEX gpus_by_node ON gpus (node);

CREATE TABLE models (
    sha256     TEXT PRIMARY KEY CHECK (length(sha256) = 64), -- of the file, 64 hex digits
    name       TEXT NOT NULL,    -- as its plans call it
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0), -- of the file
    first_ms   INTEGER NOT NULL  -- when it was planned first
) STRICT, WITHOUT ROWID;

CREATE TABLE plans (
    id            TEXT PRIMARY KEY CHECK (id LIKE 'pl\_%' ESCAPE '\'), -- hash of content and request
    created_ms    INTEGER NOT NULL, -- when it was committed
    request       TEXT,             -- id of the request that made it
    owner         TEXT NOT NULL,    -- who asked
    model         TEXT NOT NULL REFERENCES models (sha256), -- what is trained
    revision      INTEGER NOT NULL, -- of the cluster that it was made for
    dp            INTEGER NOT NULL CHECK (dp > 0), -- the strategy, as in kplan.plan/1
    tp            INTEGER NOT NULL CHECK (tp > 0),
    pp            INTEGER NOT NULL CHECK (pp > 0),
    zero          INTEGER NOT NULL CHECK (zero BETWEEN 0 AND 3),
    micro_batch   INTEGER NOT NULL CHECK (micro_batch > 0),
    micro_batches INTEGER NOT NULL CHECK (micro_batches > 0),
    schedule      INTEGER NOT NULL CHECK (schedule >= 0),
    interleave    INTEGER NOT NULL CHECK (interleave >= 0),
    recompute     INTEGER NOT NULL CHECK (recompute >= 0),
    peak_bytes    INTEGER NOT NULL CHECK (peak_bytes >= 0), -- of the worst rank
    seconds       REAL NOT NULL CHECK (seconds >= 0), -- predicted, one step
    body          TEXT NOT NULL CHECK (body LIKE '{%}') -- kplan.plan/1 without lease and verdict
) STRICT, WITHOUT ROWID;
CREATE INDEX plans_by_time ON plans (created_ms);

CREATE TABLE leases (
    id           TEXT PRIMARY KEY CHECK (id LIKE 'ls\_%' ESCAPE '\'), -- "ls_" + random
    plan         TEXT NOT NULL UNIQUE REFERENCES plans (id), -- whose GPUs these are
    fence        INTEGER NOT NULL UNIQUE CHECK (fence > 0), -- agents refuse lower ones
    owner        TEXT NOT NULL, -- who may use the GPUs
    state        TEXT NOT NULL CHECK (state IN ('held', 'confirmed', 'released', 'expired')), -- now
    granted_ms   INTEGER NOT NULL, -- when it was granted
    expires_ms   INTEGER NOT NULL, -- when it ends or ended, as shown
    length_ms    INTEGER NOT NULL CHECK (length_ms > 0), -- what a renewal gives
    remaining_ms INTEGER NOT NULL CHECK (remaining_ms >= 0) -- time left when last written
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_by_time ON leases (granted_ms);

CREATE TABLE lease_gpus (
    lease TEXT NOT NULL REFERENCES leases (id), -- holder
    gpu   TEXT NOT NULL, -- UUID
    live  INTEGER NOT NULL CHECK (live IN (0, 1)), -- 1 while the lease is held or confirmed
    PRIMARY KEY (lease, gpu)
) STRICT, WITHOUT ROWID;
-- The promise itself: no GPU in two live leases.
CREATE UNIQUE INDEX lease_gpus_once ON lease_gpus (gpu) WHERE live = 1;

CREATE TABLE fences (
    gpu   TEXT PRIMARY KEY, -- UUID
    fence INTEGER NOT NULL CHECK (fence > 0) -- highest number that a lease of it had
) STRICT, WITHOUT ROWID;

CREATE TABLE verifications (
    id      INTEGER PRIMARY KEY, -- order of arrival
    plan    TEXT NOT NULL REFERENCES plans (id), -- what was run
    at_ms   INTEGER NOT NULL, -- when it ended
    verdict TEXT NOT NULL CHECK (verdict IN ('none', 'verified', 'failed', 'inconclusive')), -- result
    covered REAL NOT NULL CHECK (covered BETWEEN 0 AND 1), -- share of weight bytes checked
    body    TEXT NOT NULL CHECK (body LIKE '{%}') -- kplan.verdict/1
) STRICT;
CREATE INDEX verifications_by_plan ON verifications (plan, id);

CREATE TABLE requests (
    id         TEXT PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128), -- the idempotency key
    digest     TEXT NOT NULL CHECK (length(digest) = 64), -- SHA-256 of the request's body
    plan       TEXT REFERENCES plans (id), -- the plan that it made; its reply if reply is NULL
    done       INTEGER NOT NULL CHECK (done IN (0, 1)), -- 0: committed, its verdict is not yet there
    reply_type INTEGER NOT NULL, -- wire number of the reply
    reply      BLOB,             -- the reply's packed body
    created_ms INTEGER NOT NULL  -- when it was written first
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_time ON requests (created_ms);

CREATE TABLE audit (
    id     INTEGER PRIMARY KEY, -- order of events
    at_ms  INTEGER NOT NULL,    -- when
    actor  TEXT NOT NULL,       -- who: a lease's owner, or 'kpland'
    verb   TEXT NOT NULL,       -- what happened: 'plan.commit', 'lease.renew', ...
    object TEXT NOT NULL,       -- to what: an id or a node's name
    detail TEXT NOT NULL        -- more, in words
) STRICT;
