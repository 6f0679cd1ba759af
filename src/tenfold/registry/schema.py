"""The tables of versions and of their moves, and the statements that read and write them."""

# The unique index is what makes two Productions impossible, whatever the code above it does.
SCHEMA = """
CREATE TABLE IF NOT EXISTS model_version (
    model TEXT NOT NULL,
    number INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    artefact TEXT NOT NULL,
    created INTEGER NOT NULL,
    info TEXT NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('none', 'staging', 'production', 'archived')),
    PRIMARY KEY (model, number),
    UNIQUE (model, run_id)
);
CREATE UNIQUE INDEX IF NOT EXISTS model_production ON model_version (model) WHERE stage = 'production';
CREATE TRIGGER IF NOT EXISTS model_version_fixed
BEFORE UPDATE OF model, number, run_id, digest, artefact, created, info ON model_version
BEGIN SELECT RAISE(ABORT, 'a model version never changes, only its stage does'); END;
CREATE TRIGGER IF NOT EXISTS model_version_kept BEFORE DELETE ON model_version
BEGIN SELECT RAISE(ABORT, 'a model version is never deleted'); END;
CREATE TABLE IF NOT EXISTS stage_event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    from_stage TEXT NOT NULL,
    to_stage TEXT NOT NULL,
    at INTEGER NOT NULL,
    "by" TEXT NOT NULL,
    why TEXT NOT NULL,
    evidence TEXT NOT NULL,
    FOREIGN KEY (model, version) REFERENCES model_version (model, number)
);
CREATE INDEX IF NOT EXISTS stage_event_model ON stage_event (model, seq);
CREATE TRIGGER IF NOT EXISTS stage_event_fixed BEFORE UPDATE ON stage_event
BEGIN SELECT RAISE(ABORT, 'the history of stages is append-only'); END;
CREATE TRIGGER IF NOT EXISTS stage_event_kept BEFORE DELETE ON stage_event
BEGIN SELECT RAISE(ABORT, 'the history of stages is append-only'); END;
"""

REGISTER = """
INSERT INTO model_version (model, number, run_id, digest, artefact, created, info, stage)
SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4, ?5, ?6, 'none' FROM model_version WHERE model = ?1
ON CONFLICT (model, run_id) DO NOTHING
"""
BY_RUN = "SELECT * FROM model_version WHERE model = ? AND run_id = ?"
BY_NUMBER = "SELECT * FROM model_version WHERE model = ? AND number = ?"
VERSIONS = "SELECT * FROM model_version WHERE model = ? ORDER BY number"
PRODUCTION = "SELECT * FROM model_version WHERE model = ? AND stage = 'production'"
MODELS = "SELECT DISTINCT model FROM model_version ORDER BY model"
SET_STAGE = "UPDATE model_version SET stage = ? WHERE model = ? AND number = ?"
ADD_EVENT = """
INSERT INTO stage_event (model, version, from_stage, to_stage, at, "by", why, evidence)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *
"""
EVENTS = "SELECT * FROM stage_event WHERE model = ? ORDER BY seq"
LAST_EVENT = "SELECT coalesce(max(seq), 0) AS seq FROM stage_event WHERE model = ?"
