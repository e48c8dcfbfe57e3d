-- name: schema
CREATE TABLE IF NOT EXISTS session (
    id       TEXT PRIMARY KEY,
    agent    TEXT NOT NULL,
    title    TEXT NOT NULL,
    created  TEXT NOT NULL,
    updated  TEXT NOT NULL,
    status   TEXT NOT NULL,
    messages INTEGER NOT NULL,
    turns    INTEGER NOT NULL,
    cost_usd REAL NOT NULL,
    unpriced INTEGER NOT NULL,
    parent   TEXT,
    workdir  TEXT NOT NULL,
    model    TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    error    TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS session_agent ON session (agent, id);

-- name: upsert
INSERT INTO session
    (id, agent, title, created, updated, status, messages, turns, cost_usd, unpriced, parent,
     workdir, model, seq, error)
VALUES
    (:id, :agent, :title, :created, :updated, :status, :messages, :turns, :cost_usd, :unpriced, :parent,
     :workdir, :model, :seq, :error)
ON CONFLICT (id) DO UPDATE SET
    agent = excluded.agent,
    title = excluded.title,
    created = excluded.created,
    updated = excluded.updated,
    status = excluded.status,
    messages = excluded.messages,
    turns = excluded.turns,
    cost_usd = excluded.cost_usd,
    unpriced = excluded.unpriced,
    parent = excluded.parent,
    workdir = excluded.workdir,
    model = excluded.model,
    seq = excluded.seq,
    error = excluded.error;

-- name: list
SELECT id, agent, title, created, updated, status, messages, turns, cost_usd, unpriced, parent,
    workdir, model, seq, error
FROM session
WHERE (:before IS NULL OR id < :before)
ORDER BY id DESC
LIMIT :limit;

-- name: list_of_agent
SELECT id, agent, title, created, updated, status, messages, turns, cost_usd, unpriced, parent,
    workdir, model, seq, error
FROM session
WHERE agent = :agent AND (:before IS NULL OR id < :before)
ORDER BY id DESC
LIMIT :limit;

-- name: delete
DELETE FROM session WHERE id = :id;

-- name: clear
DELETE FROM session;
