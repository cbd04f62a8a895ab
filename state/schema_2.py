"""Schema 2: any study. A job has labels, a trial has its own facts, each draw and each attempt is a row. Frozen.

Rebuilds the tables job, trial and epoch, because a CHECK or a column of theirs changes. Runs with foreign keys off
(fts.state.db): otherwise dropping the old tables would delete the rows that refer to them. Copies rows that violate
a CHECK unchanged: an unreadable row must not prevent a study from being opened.
"""

from __future__ import annotations

# SQLite computes budget, horizon, task and tier from the labels, so that people's queries for schema 1 keep working.
# A label that is not JSON, or of another type, gives NULL: one hostile row must not break a query over all rows.
JOB = """
CREATE TABLE job (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  study TEXT NOT NULL, cell TEXT NOT NULL, experiment TEXT NOT NULL, kind TEXT NOT NULL,
  labels TEXT NOT NULL CHECK (json_valid(labels) AND json_type(labels) = 'object'),
  metric TEXT NOT NULL, direction TEXT NOT NULL CHECK (direction IN ('minimize', 'maximize')),
  status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'paused', 'done', 'failed', 'cancelled')),
  rank REAL NOT NULL, hold_reason TEXT,
  asked TEXT CHECK (asked IS NULL OR (asked IN ('pause', 'cancel') AND status = 'running')),
  trials_wanted INTEGER NOT NULL CHECK (trials_wanted >= 0),
  trials_complete INTEGER NOT NULL DEFAULT 0, trials_pruned INTEGER NOT NULL DEFAULT 0,
  trials_failed INTEGER NOT NULL DEFAULT 0,
  attempt INTEGER NOT NULL DEFAULT 0, idle_attempts INTEGER NOT NULL DEFAULT 0, token INTEGER NOT NULL DEFAULT 0,
  lease_until REAL CHECK ((lease_until IS NOT NULL) = (status = 'running')),
  worker_id INTEGER REFERENCES worker (id) CHECK ((worker_id IS NOT NULL) = (status = 'running')),
  cause TEXT, message TEXT,
  best_value REAL, best_trial INTEGER,
  spec TEXT NOT NULL CHECK (json_valid(spec)), spec_md5 TEXT NOT NULL, question_md5 TEXT,
  created_at REAL NOT NULL, started_at REAL, ended_at REAL, acknowledged_at REAL,
  budget TEXT AS (CASE WHEN json_valid(labels) THEN CAST(json_extract(labels, '$.budget') AS TEXT) END) VIRTUAL,
  horizon INTEGER AS (CASE WHEN json_valid(labels) THEN CASE typeof(json_extract(labels, '$.horizon'))
    WHEN 'integer' THEN json_extract(labels, '$.horizon') END END) VIRTUAL,
  task TEXT AS (CASE WHEN json_valid(labels) THEN CAST(json_extract(labels, '$.task') AS TEXT) END) VIRTUAL,
  tier TEXT AS (CASE WHEN json_valid(labels) THEN CAST(json_extract(labels, '$.tier') AS TEXT) END) VIRTUAL
) STRICT"""

TRIAL = """
CREATE TABLE trial (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id INTEGER NOT NULL REFERENCES job (id), number INTEGER NOT NULL CHECK (number >= 0),
  status TEXT NOT NULL CHECK (status IN ('running', 'interrupted', 'complete', 'pruned', 'failed')),
  params TEXT NOT NULL CHECK (json_valid(params)), effective TEXT NOT NULL CHECK (json_valid(effective)),
  effective_md5 TEXT NOT NULL, architecture TEXT NOT NULL, n_params INTEGER,
  objective TEXT NOT NULL, direction TEXT NOT NULL CHECK (direction IN ('minimize', 'maximize')),
  value REAL, best_epoch INTEGER, last_value REAL, epochs INTEGER NOT NULL DEFAULT 0,
  val_loss REAL, val_auc REAL, auc_low REAL, auc_high REAL,
  n_train INTEGER, n_val INTEGER, n_pos INTEGER, prior_loss REAL, label_md5 TEXT, base_rate REAL, data_md5 TEXT,
  code_commit TEXT, code_dirty INTEGER, seed INTEGER NOT NULL, torch_version TEXT, host TEXT, device TEXT,
  threads INTEGER, micro_batch INTEGER, accumulation INTEGER, recipe TEXT, predicted_bytes INTEGER, peak_bytes INTEGER,
  badges TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(badges)), reused_from INTEGER REFERENCES trial (id),
  cause TEXT, message TEXT, log_path TEXT, started_at REAL NOT NULL, ended_at REAL,
  train_seconds REAL NOT NULL DEFAULT 0, pid INTEGER, pid_started REAL,
  facts TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(facts) AND json_type(facts) = 'object'),
  UNIQUE (job_id, number)
) STRICT"""

EPOCH = """
CREATE TABLE epoch (
  trial_id INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE, epoch INTEGER NOT NULL CHECK (epoch >= 0),
  step INTEGER NOT NULL, train_loss REAL, val_loss REAL, train_auc REAL, val_auc REAL, val_brier REAL,
  pred_min REAL, pred_max REAL, pred_sd REAL, learning_rate REAL, samples_per_s REAL, seconds REAL, at REAL NOT NULL,
  value REAL, metrics TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metrics) AND json_type(metrics) = 'object'),
  PRIMARY KEY (trial_id, epoch)
) STRICT, WITHOUT ROWID"""

STUDY = """
CREATE TABLE study (
  name TEXT PRIMARY KEY, declaration TEXT NOT NULL CHECK (json_valid(declaration)), created_at REAL NOT NULL
) STRICT"""

DRAW = """
CREATE TABLE draw (
  trial_id INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE, k INTEGER NOT NULL CHECK (k >= 0),
  name TEXT NOT NULL, value TEXT NOT NULL CHECK (json_valid(value)),
  distribution TEXT NOT NULL CHECK (json_valid(distribution)),
  PRIMARY KEY (trial_id, k)
) STRICT, WITHOUT ROWID"""

ATTEMPT = """
CREATE TABLE attempt (
  trial_id INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE, n INTEGER NOT NULL CHECK (n >= 1),
  token INTEGER NOT NULL, host TEXT, pid INTEGER, began_at REAL NOT NULL, ended_at REAL, how TEXT,
  PRIMARY KEY (trial_id, n)
) STRICT, WITHOUT ROWID"""

INDEXES = (  # of the rebuilt tables; as in schema 1, with job_question added
    "CREATE UNIQUE INDEX job_live_spec ON job (spec_md5) WHERE status IN ('queued', 'running', 'paused')",
    "CREATE INDEX job_runnable ON job (rank, id) WHERE status = 'queued' AND hold_reason IS NULL",
    "CREATE INDEX job_waiting ON job (rank, id) WHERE status IN ('queued', 'paused')",
    "CREATE INDEX job_running ON job (worker_id) WHERE status = 'running'",
    "CREATE INDEX job_rank ON job (rank)",
    "CREATE INDEX job_experiment ON job (experiment)",
    "CREATE INDEX job_question ON job (question_md5) WHERE question_md5 IS NOT NULL",
    "CREATE UNIQUE INDEX trial_live ON trial (job_id) WHERE status IN ('running', 'interrupted')",
    "CREATE INDEX trial_label ON trial (label_md5) WHERE label_md5 IS NOT NULL",
)

V_QUEUE = """
CREATE VIEW v_queue AS
SELECT job.id AS job, experiment, kind, budget, horizon, task, tier,
  CASE WHEN job.status = 'done' AND best_trial IS NULL AND trials_complete + trials_pruned + trials_failed > 0
    THEN 'failed' ELSE job.status END AS status,
  CASE WHEN job.status IN ('queued', 'paused')
    THEN ROW_NUMBER() OVER (PARTITION BY job.status IN ('queued', 'paused') ORDER BY rank, job.id) END AS place,
  hold_reason AS held_because, job.asked,
  trials_complete || '/' || trials_wanted AS trials, trials_complete AS complete, trials_pruned AS pruned,
  trials_failed AS failed, best_value, best_trial, attempt, cause, message,
  CASE WHEN worker.id IS NULL THEN NULL ELSE 'worker ' || worker.id || ' on ' || worker.host END AS worker,
  datetime(job.created_at, 'unixepoch') AS created_utc, datetime(job.started_at, 'unixepoch') AS started_utc,
  datetime(job.ended_at, 'unixepoch') AS ended_utc, study, cell
FROM job LEFT JOIN worker ON worker.id = job.worker_id
ORDER BY CASE job.status WHEN 'running' THEN 0 WHEN 'queued' THEN 1 WHEN 'paused' THEN 1 ELSE 2 END, rank, job.id"""

V_TRIALS = """
CREATE VIEW v_trials AS
SELECT job.id AS job, experiment, kind, budget, horizon, task, tier, number, trial.status, objective, value, best_epoch,
  last_value, epochs, val_loss, val_auc, auc_low, auc_high, n_train, n_val, n_pos, prior_loss,
  prior_loss - val_loss AS gain_over_prior, architecture, n_params,
  json_extract(params, '$.learning_rate') AS learning_rate, json_extract(params, '$.weight_decay') AS weight_decay,
  json_extract(params, '$.warmup_steps') AS warmup_steps, json_extract(params, '$.dropout') AS dropout, params,
  micro_batch || 'x' || accumulation AS batch, label_md5, base_rate, data_md5, effective_md5, seed,
  code_commit, code_dirty, torch_version, host, device, threads, predicted_bytes, peak_bytes, trial.cause, badges,
  reused_from, trial.message, round(train_seconds / 60.0, 2) AS minutes,
  datetime(trial.started_at, 'unixepoch') AS started_utc, datetime(trial.ended_at, 'unixepoch') AS ended_utc,
  study, cell, trial.direction
FROM trial JOIN job ON job.id = trial.job_id
ORDER BY job.id, number"""

# In schema 1 every job belongs to the study of daily bars.
PATCHTST = "patchtst"
DECLARATION = (
    '{"axes":['
    '{"name":"budget","label":"budget","values":["tiny","2M","20M","200M","2B"]},'
    '{"name":"horizon","label":"horizon","values":[]},'
    '{"name":"task","label":"task","values":[]},'
    '{"name":"tier","label":"tier","values":[]}],'
    '"metrics":['
    '{"name":"val_loss","label":"loss","goal":"minimize","format":".4f"},'
    '{"name":"val_auc","label":"AUC","goal":"maximize","format":".4f"},'
    '{"name":"train_loss","label":"train loss","goal":null,"format":".4f"},'
    '{"name":"train_auc","label":"train AUC","goal":null,"format":".4f"},'
    '{"name":"val_brier","label":"Brier","goal":null,"format":".4f"},'
    '{"name":"pred_min","label":"lowest prediction","goal":null,"format":".4f"},'
    '{"name":"pred_max","label":"highest prediction","goal":null,"format":".4f"},'
    '{"name":"pred_sd","label":"spread of predictions","goal":null,"format":".4f"},'
    '{"name":"learning_rate","label":"learning rate","goal":null,"format":".2e"}],'
    '"facts":[],"step":"epoch"}'
)

# The name of a cell from its own row: `20M/h3`, `base/h3`, `20M/h3 wf5`, `20M/h3 NDX a20`, `20M/h3 final`. This is the
# rule that fts.jobs.status.naming had when schema 1 ended, as SQL: it works for any content of the specification.
_KNOWN = "CASE WHEN json_valid(spec) AND json_type(spec) = 'object' THEN json_extract(spec, '$.{}') END"
OLD_ROWS = f"""
SELECT id, experiment, kind, budget, horizon, task, tier, {_KNOWN.format("cv")} AS cv,
  coalesce(CAST({_KNOWN.format("dataset")} AS TEXT), '') AS dataset,
  {_KNOWN.format("objective")} AS objective
FROM job_1"""
TICKERS = f"""
SELECT *, substr(dataset, 1, instr(dataset || '.dataset.', '.dataset.') - 1) AS ticker,
  CASE WHEN instr(cv, ':') THEN substr(cv, instr(cv, ':') + 1) ELSE cv END AS folds
FROM ({OLD_ROWS})"""
_ENDS_BOTH = "substr(experiment, -length('_' || ticker || '_' || tier)) = '_' || ticker || '_' || tier"
_ENDS_TICKER = "substr(experiment, -length('_' || ticker)) = '_' || ticker"
_ENDS_TIER = "substr(experiment, -length('_' || tier)) = '_' || tier"
NAMED = f"""
SELECT id, CASE kind WHEN 'baseline' THEN 'base' ELSE budget END || '/h' || horizon
  || CASE WHEN coalesce(folds, '') <> '' THEN ' wf' || folds ELSE '' END
  || CASE
    WHEN kind = 'baseline' AND NOT {_ENDS_TICKER} THEN ''
    WHEN {_ENDS_BOTH} THEN replace(' ' || ticker || ' ' || tier, '_', ' ')
    WHEN {_ENDS_TICKER} THEN replace(' ' || ticker, '_', ' ')
    WHEN {_ENDS_TIER} THEN replace(' ' || tier, '_', ' ')
    ELSE '' END
  || CASE kind WHEN 'cell' THEN '' WHEN 'baseline' THEN '' WHEN 'train' THEN ' final' WHEN 'replicate' THEN ' seeds'
    ELSE ' ' || kind END AS cell,
  CASE objective WHEN 'val_auc' THEN 'val_auc' ELSE 'val_loss' END AS metric,
  CASE objective WHEN 'val_auc' THEN 'maximize' ELSE 'minimize' END AS direction
FROM ({TICKERS})"""

_JOB_KEPT = (
    "status, rank, hold_reason, asked, trials_wanted, trials_complete, trials_pruned, trials_failed, attempt, "
    "idle_attempts, token, lease_until, worker_id, cause, message, best_value, best_trial, spec, spec_md5, created_at, "
    "started_at, ended_at, acknowledged_at"
)
COPY_JOBS = f"""
INSERT INTO job (id, study, cell, experiment, kind, labels, metric, direction, {_JOB_KEPT})
SELECT job_1.id, '{PATCHTST}', named.cell, experiment, kind,
  json_object('budget', budget, 'horizon', horizon, 'task', task, 'tier', tier), named.metric, named.direction,
  {_JOB_KEPT}
FROM job_1 JOIN ({NAMED}) AS named ON named.id = job_1.id ORDER BY job_1.id"""

_TRIAL_BEFORE = "id, job_id, number, status, params, effective, effective_md5, architecture, n_params, objective"
_TRIAL_AFTER = (
    "value, best_epoch, last_value, epochs, val_loss, val_auc, auc_low, auc_high, n_train, n_val, n_pos, prior_loss, "
    "label_md5, base_rate, data_md5, code_commit, code_dirty, seed, torch_version, host, device, threads, micro_batch, "
    "accumulation, recipe, predicted_bytes, peak_bytes, badges, reused_from, cause, message, log_path, started_at, "
    "ended_at, train_seconds, pid, pid_started"
)
COPY_TRIALS = f"""
INSERT INTO trial ({_TRIAL_BEFORE}, direction, {_TRIAL_AFTER})
SELECT {_TRIAL_BEFORE}, CASE objective WHEN 'val_auc' THEN 'maximize' ELSE 'minimize' END, {_TRIAL_AFTER}
FROM trial_1 ORDER BY id"""

_EPOCH_KEPT = (
    "trial_id, epoch, step, train_loss, val_loss, train_auc, val_auc, val_brier, pred_min, pred_max, pred_sd, "
    "learning_rate, samples_per_s, seconds, at"
)
COPY_EPOCHS = f"""
INSERT INTO epoch ({_EPOCH_KEPT}, value)
SELECT {_EPOCH_KEPT},
  CASE (SELECT objective FROM trial_1 WHERE id = trial_id) WHEN 'val_auc' THEN val_auc ELSE val_loss END
FROM epoch_1 ORDER BY trial_id, epoch"""

DECLARE = f"""
INSERT INTO study (name, declaration, created_at)
SELECT '{PATCHTST}', '{DECLARATION}', MIN(created_at) FROM job_1 HAVING COUNT(*) > 0"""

STATEMENTS: tuple[str, ...] = (
    "PRAGMA legacy_alter_table = ON",  # else a view of somebody's own stops a table from being renamed
    "PRAGMA ignore_check_constraints = ON",
    "DROP VIEW IF EXISTS v_queue",
    "DROP VIEW IF EXISTS v_trials",
    *(f"ALTER TABLE {name} RENAME TO {name}_1" for name in ("epoch", "trial", "job")),
    *(f"DROP INDEX IF EXISTS {statement.split(' INDEX ')[1].split()[0]}" for statement in INDEXES),
    JOB, TRIAL, EPOCH, STUDY, DRAW, ATTEMPT, COPY_JOBS, COPY_TRIALS, COPY_EPOCHS, DECLARE,
    # an id that was used once is never used again
    "DELETE FROM sqlite_sequence WHERE name IN ('job', 'trial')",
    "INSERT INTO sqlite_sequence (name, seq) "
    "SELECT substr(name, 1, length(name) - 2), seq FROM sqlite_sequence WHERE name IN ('job_1', 'trial_1')",
    "DROP TABLE epoch_1", "DROP TABLE trial_1", "DROP TABLE job_1",
    *INDEXES, V_QUEUE, V_TRIALS,
    "PRAGMA ignore_check_constraints = OFF",
    "PRAGMA legacy_alter_table = OFF",
)  # fmt: skip
