"""Schema 1: the tables, indexes and views of the first release. Frozen; a later change is a new migration."""

from __future__ import annotations

# Times are seconds since the epoch (UTC). NaN cannot be stored in SQLite: it becomes NULL and is read back as nan.
# STRICT refuses a text in a number column, so a hostile row cannot pass one to the code that reads it.
JOB = """
CREATE TABLE job (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  experiment TEXT NOT NULL, kind TEXT NOT NULL, budget TEXT NOT NULL, horizon INTEGER NOT NULL,
  task TEXT NOT NULL, tier TEXT NOT NULL,
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
  spec TEXT NOT NULL CHECK (json_valid(spec)), spec_md5 TEXT NOT NULL,
  created_at REAL NOT NULL, started_at REAL, ended_at REAL, acknowledged_at REAL
) STRICT"""

TRIAL = """
CREATE TABLE trial (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id INTEGER NOT NULL REFERENCES job (id), number INTEGER NOT NULL CHECK (number >= 0),
  status TEXT NOT NULL CHECK (status IN ('running', 'interrupted', 'complete', 'pruned', 'failed')),
  params TEXT NOT NULL CHECK (json_valid(params)), effective TEXT NOT NULL CHECK (json_valid(effective)),
  effective_md5 TEXT NOT NULL, architecture TEXT NOT NULL, n_params INTEGER,
  objective TEXT NOT NULL CHECK (objective IN ('val_loss', 'val_auc')),
  value REAL, best_epoch INTEGER, last_value REAL, epochs INTEGER NOT NULL DEFAULT 0,
  val_loss REAL, val_auc REAL, auc_low REAL, auc_high REAL,
  n_train INTEGER, n_val INTEGER, n_pos INTEGER, prior_loss REAL, label_md5 TEXT, base_rate REAL, data_md5 TEXT,
  code_commit TEXT, code_dirty INTEGER, seed INTEGER NOT NULL, torch_version TEXT, host TEXT, device TEXT,
  threads INTEGER, micro_batch INTEGER, accumulation INTEGER, recipe TEXT, predicted_bytes INTEGER, peak_bytes INTEGER,
  badges TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(badges)), reused_from INTEGER REFERENCES trial (id),
  cause TEXT, message TEXT, log_path TEXT, started_at REAL NOT NULL, ended_at REAL,
  train_seconds REAL NOT NULL DEFAULT 0, pid INTEGER, pid_started REAL,
  UNIQUE (job_id, number)
) STRICT"""

EPOCH = """
CREATE TABLE epoch (
  trial_id INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE, epoch INTEGER NOT NULL CHECK (epoch >= 1),
  step INTEGER NOT NULL, train_loss REAL, val_loss REAL, train_auc REAL, val_auc REAL, val_brier REAL,
  pred_min REAL, pred_max REAL, pred_sd REAL, learning_rate REAL, samples_per_s REAL, seconds REAL, at REAL NOT NULL,
  PRIMARY KEY (trial_id, epoch)
) STRICT, WITHOUT ROWID"""

EVENT = """
CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL, who TEXT NOT NULL, verb TEXT NOT NULL, job_id INTEGER, trial_id INTEGER, message TEXT NOT NULL,
  data TEXT NOT NULL CHECK (json_valid(data)), inverse TEXT CHECK (inverse IS NULL OR json_valid(inverse)),
  undone_by INTEGER REFERENCES event (id)
) STRICT"""

WORKER = """
CREATE TABLE worker (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  host TEXT NOT NULL, pid INTEGER NOT NULL, pid_started REAL NOT NULL, slots INTEGER NOT NULL CHECK (slots >= 1),
  status TEXT NOT NULL CHECK (status IN ('running', 'stopped', 'lost')),
  asked TEXT CHECK (asked IS NULL OR asked IN ('drain_job', 'drain_trial', 'stop')),
  started_at REAL NOT NULL, heartbeat_at REAL NOT NULL, beats INTEGER NOT NULL DEFAULT 0, stopped_at REAL,
  guard TEXT NOT NULL DEFAULT 'unknown', guard_message TEXT
) STRICT"""

SAMPLE = """
CREATE TABLE sample (
  id INTEGER PRIMARY KEY,
  at REAL NOT NULL, worker_id INTEGER NOT NULL REFERENCES worker (id), trial_rss INTEGER, available INTEGER,
  total INTEGER, swap_used INTEGER, cpu_percent REAL, temperature REAL, gpu_percent REAL, gpu_memory INTEGER,
  power_w REAL, disk_free INTEGER, step_s REAL
) STRICT"""

CHECKPOINT = """
CREATE TABLE checkpoint (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  trial_id INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE, step INTEGER NOT NULL, epoch INTEGER NOT NULL,
  path TEXT NOT NULL, bytes INTEGER NOT NULL, md5 TEXT NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL
) STRICT"""

FLAG = "CREATE TABLE flag (name TEXT PRIMARY KEY, value TEXT NOT NULL, reason TEXT, who TEXT, at REAL NOT NULL) STRICT"

TICKETS = (  # huey's own, as huey.contrib.sql_huey declares them, under our prefix and led by the queue's name
    "CREATE TABLE huey_task (id INTEGER PRIMARY KEY, queue TEXT NOT NULL, data BLOB NOT NULL, priority REAL NOT NULL)",
    "CREATE INDEX huey_task_next ON huey_task (queue, priority DESC, id)",
    "CREATE TABLE huey_schedule (id INTEGER PRIMARY KEY, queue TEXT NOT NULL, data BLOB NOT NULL, "
    "timestamp INTEGER NOT NULL)",
    "CREATE INDEX huey_schedule_due ON huey_schedule (queue, timestamp)",
    "CREATE TABLE huey_kv (queue TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (queue, key))",
    "CREATE TABLE huey_counter (queue TEXT NOT NULL, key TEXT NOT NULL, value INTEGER NOT NULL, "
    "PRIMARY KEY (queue, key))",
    "CREATE TABLE huey_quarantine (id INTEGER PRIMARY KEY, at REAL NOT NULL, data BLOB, reason TEXT NOT NULL)",
)

INDEXES = (
    # at most one waiting or running job per specification
    "CREATE UNIQUE INDEX job_live_spec ON job (spec_md5) WHERE status IN ('queued', 'running', 'paused')",
    # what a claim reads: its cost must not grow with the queue, nor with held jobs at its head
    "CREATE INDEX job_runnable ON job (rank, id) WHERE status = 'queued' AND hold_reason IS NULL",
    "CREATE INDEX job_waiting ON job (rank, id) WHERE status IN ('queued', 'paused')",
    "CREATE INDEX job_running ON job (worker_id) WHERE status = 'running'",
    "CREATE INDEX job_rank ON job (rank)",
    "CREATE INDEX job_experiment ON job (experiment)",
    # a job works on one trial at a time, and an interrupted one goes first
    "CREATE UNIQUE INDEX trial_live ON trial (job_id) WHERE status IN ('running', 'interrupted')",
    "CREATE INDEX trial_label ON trial (label_md5) WHERE label_md5 IS NOT NULL",
    "CREATE INDEX event_job ON event (job_id, id)",
    "CREATE INDEX event_verb ON event (verb, id)",
    "CREATE INDEX event_at ON event (at)",
    "CREATE INDEX event_undoable ON event (id) WHERE inverse IS NOT NULL AND undone_by IS NULL",
    "CREATE INDEX sample_worker ON sample (worker_id, at)",
    "CREATE INDEX sample_at ON sample (at)",
    "CREATE INDEX checkpoint_trial ON checkpoint (trial_id, id)",
)

V_QUEUE = """
CREATE VIEW v_queue AS
SELECT job.id AS job, experiment, kind, budget, horizon, task, tier, job.status,
  CASE WHEN job.status IN ('queued', 'paused')
    THEN ROW_NUMBER() OVER (PARTITION BY job.status IN ('queued', 'paused') ORDER BY rank, job.id) END AS place,
  hold_reason AS held_because, job.asked,
  trials_complete || '/' || trials_wanted AS trials, trials_complete AS complete, trials_pruned AS pruned,
  trials_failed AS failed, best_value, best_trial, attempt, cause, message,
  CASE WHEN worker.id IS NULL THEN NULL ELSE 'worker ' || worker.id || ' on ' || worker.host END AS worker,
  datetime(job.created_at, 'unixepoch') AS created_utc, datetime(job.started_at, 'unixepoch') AS started_utc,
  datetime(job.ended_at, 'unixepoch') AS ended_utc
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
  datetime(trial.started_at, 'unixepoch') AS started_utc, datetime(trial.ended_at, 'unixepoch') AS ended_utc
FROM trial JOIN job ON job.id = trial.job_id
ORDER BY job.id, number"""

STATEMENTS: tuple[str, ...] = (
    WORKER, JOB, TRIAL, EPOCH, EVENT, SAMPLE, CHECKPOINT, FLAG, *TICKETS, *INDEXES, V_QUEUE, V_TRIALS,
)  # fmt: skip
