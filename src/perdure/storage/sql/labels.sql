-- name: schema
CREATE TABLE IF NOT EXISTS file (
    path  BLOB PRIMARY KEY,
    label TEXT,
    dev   INTEGER NOT NULL,
    ino   INTEGER NOT NULL,
    size  INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    ctime INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS run (
    key    TEXT PRIMARY KEY,
    folder BLOB NOT NULL,
    label  TEXT NOT NULL,
    boot   TEXT NOT NULL,
    began  INTEGER NOT NULL,
    ended  INTEGER
) WITHOUT ROWID;

-- name: files
SELECT path, label, dev, ino, size, mtime, ctime FROM file;

-- name: runs
SELECT key, folder, label, boot, began, ended FROM run;

-- name: put_file
INSERT OR REPLACE INTO file (path, label, dev, ino, size, mtime, ctime) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: drop_file
DELETE FROM file WHERE path = ?;

-- name: put_run
INSERT OR REPLACE INTO run (key, folder, label, boot, began, ended) VALUES (?, ?, ?, ?, ?, ?);

-- name: drop_run
DELETE FROM run WHERE key = ?;
