"""The tables of runs. What a run learned is in rows, so that SQL can order runs by it; the rest of a run is one JSON text each."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    title TEXT NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER,
    status TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed')),
    params TEXT NOT NULL,
    data TEXT NOT NULL,
    samples TEXT NOT NULL,
    code TEXT NOT NULL,
    environment TEXT NOT NULL,
    artefact TEXT,
    error TEXT,
    host TEXT,
    pid INTEGER,
    birth INTEGER,
    alive INTEGER
);
CREATE INDEX IF NOT EXISTS run_subject ON run (subject, seq);
CREATE INDEX IF NOT EXISTS run_owned ON run (seq) WHERE status = 'running' AND pid IS NOT NULL;
CREATE TRIGGER IF NOT EXISTS run_finished BEFORE UPDATE ON run WHEN OLD.status <> 'running'
BEGIN SELECT RAISE(ABORT, 'a finished run never changes'); END;
CREATE TRIGGER IF NOT EXISTS run_kept BEFORE DELETE ON run
BEGIN SELECT RAISE(ABORT, 'a run is never deleted'); END;

CREATE TABLE IF NOT EXISTS run_result (
    run INTEGER NOT NULL REFERENCES run (seq),
    place INTEGER NOT NULL,
    name TEXT NOT NULL,
    value REAL,
    PRIMARY KEY (run, place)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS run_result_best ON run_result (name, value, run);

CREATE TABLE IF NOT EXISTS run_metric (
    run INTEGER NOT NULL REFERENCES run (seq),
    name TEXT NOT NULL,
    step INTEGER NOT NULL,
    value REAL,
    at INTEGER NOT NULL,
    PRIMARY KEY (run, name, step)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS run_artefact (
    run INTEGER NOT NULL REFERENCES run (seq),
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (run, name)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS run_note (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run (seq),
    at INTEGER NOT NULL,
    "by" TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS run_note_run ON run_note (run, seq);
CREATE TABLE IF NOT EXISTS run_tag (
    run INTEGER NOT NULL REFERENCES run (seq),
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS code_diff (digest TEXT PRIMARY KEY, diff TEXT NOT NULL) WITHOUT ROWID;
"""

# What was measured or attached belongs to the run: it comes while the run is under way, and stays.
_PARTS = ("run_result", "run_metric", "run_artefact")
SCHEMA += "".join(
    f"""
CREATE TRIGGER IF NOT EXISTS {part}_added BEFORE INSERT ON {part}
WHEN (SELECT status FROM run WHERE seq = NEW.run) <> 'running'
BEGIN SELECT RAISE(ABORT, 'a finished run never changes'); END;
CREATE TRIGGER IF NOT EXISTS {part}_changed BEFORE UPDATE ON {part}
WHEN (SELECT status FROM run WHERE seq = OLD.run) <> 'running'
BEGIN SELECT RAISE(ABORT, 'a finished run never changes'); END;
CREATE TRIGGER IF NOT EXISTS {part}_kept BEFORE DELETE ON {part}
BEGIN SELECT RAISE(ABORT, 'a run is never deleted'); END;
"""
    for part in _PARTS
)
SCHEMA += """
CREATE TRIGGER IF NOT EXISTS run_note_fixed BEFORE UPDATE ON run_note
BEGIN SELECT RAISE(ABORT, 'a note never changes'); END;
CREATE TRIGGER IF NOT EXISTS run_note_kept BEFORE DELETE ON run_note
BEGIN SELECT RAISE(ABORT, 'a note is never deleted'); END;
"""
