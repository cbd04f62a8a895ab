"""The peewee models of the tables. The schema itself, with its checks and indexes, is in the migrations.

No model is bound to a database: queries run with `.execute(db)`, so that one process can use several databases
(a backup and the live one, or those of several tests).
"""

from __future__ import annotations

from peewee import SQL, AutoField, BlobField, CompositeKey, FloatField, IntegerField, Model, TextField

ALL = SQL("*")  # `JobRow.select(ALL)`: listing 44 columns takes peewee 0.4 ms a query


class JobRow(Model):
    """A job. Leaves out budget, horizon, task and tier, which SQLite computes from the labels."""

    id = AutoField()
    study = TextField()
    cell = TextField()
    experiment = TextField()
    kind = TextField()
    labels = TextField()
    metric = TextField()
    direction = TextField()
    status = TextField()
    rank = FloatField()
    hold_reason = TextField(null=True)
    asked = TextField(null=True)
    trials_wanted = IntegerField()
    trials_complete = IntegerField()
    trials_pruned = IntegerField()
    trials_failed = IntegerField()
    attempt = IntegerField()
    idle_attempts = IntegerField()
    token = IntegerField()
    lease_until = FloatField(null=True)
    worker_id = IntegerField(null=True)
    cause = TextField(null=True)
    message = TextField(null=True)
    best_value = FloatField(null=True)
    best_trial = IntegerField(null=True)
    spec = TextField()
    spec_md5 = TextField()
    question_md5 = TextField(null=True)
    created_at = FloatField()
    started_at = FloatField(null=True)
    ended_at = FloatField(null=True)
    acknowledged_at = FloatField(null=True)

    class Meta:
        table_name = "job"


class TrialRow(Model):
    id = AutoField()
    job_id = IntegerField()
    number = IntegerField()
    status = TextField()
    params = TextField()
    effective = TextField()
    effective_md5 = TextField()
    architecture = TextField()
    n_params = IntegerField(null=True)
    objective = TextField()
    direction = TextField()
    value = FloatField(null=True)
    best_epoch = IntegerField(null=True)
    last_value = FloatField(null=True)
    epochs = IntegerField()
    val_loss = FloatField(null=True)
    val_auc = FloatField(null=True)
    auc_low = FloatField(null=True)
    auc_high = FloatField(null=True)
    n_train = IntegerField(null=True)
    n_val = IntegerField(null=True)
    n_pos = IntegerField(null=True)
    prior_loss = FloatField(null=True)
    label_md5 = TextField(null=True)
    base_rate = FloatField(null=True)
    data_md5 = TextField(null=True)
    code_commit = TextField(null=True)
    code_dirty = IntegerField(null=True)
    seed = IntegerField()
    torch_version = TextField(null=True)
    host = TextField(null=True)
    device = TextField(null=True)
    threads = IntegerField(null=True)
    micro_batch = IntegerField(null=True)
    accumulation = IntegerField(null=True)
    recipe = TextField(null=True)
    predicted_bytes = IntegerField(null=True)
    peak_bytes = IntegerField(null=True)
    badges = TextField()
    reused_from = IntegerField(null=True)
    cause = TextField(null=True)
    message = TextField(null=True)
    log_path = TextField(null=True)
    started_at = FloatField()
    ended_at = FloatField(null=True)
    train_seconds = FloatField()
    pid = IntegerField(null=True)
    pid_started = FloatField(null=True)
    facts = TextField()

    class Meta:
        table_name = "trial"


class EpochRow(Model):
    trial_id = IntegerField()
    epoch = IntegerField()
    step = IntegerField()
    train_loss = FloatField(null=True)
    val_loss = FloatField(null=True)
    train_auc = FloatField(null=True)
    val_auc = FloatField(null=True)
    val_brier = FloatField(null=True)
    pred_min = FloatField(null=True)
    pred_max = FloatField(null=True)
    pred_sd = FloatField(null=True)
    learning_rate = FloatField(null=True)
    samples_per_s = FloatField(null=True)
    seconds = FloatField(null=True)
    at = FloatField()
    value = FloatField(null=True)
    metrics = TextField()

    class Meta:
        table_name = "epoch"
        primary_key = CompositeKey("trial_id", "epoch")


class EventRow(Model):
    id = AutoField()
    at = FloatField()
    who = TextField()
    verb = TextField()
    job_id = IntegerField(null=True)
    trial_id = IntegerField(null=True)
    message = TextField()
    data = TextField()
    inverse = TextField(null=True)
    undone_by = IntegerField(null=True)

    class Meta:
        table_name = "event"


class WorkerRow(Model):
    id = AutoField()
    host = TextField()
    pid = IntegerField()
    pid_started = FloatField()
    slots = IntegerField()
    status = TextField()
    asked = TextField(null=True)
    started_at = FloatField()
    heartbeat_at = FloatField()
    beats = IntegerField()
    stopped_at = FloatField(null=True)
    guard = TextField()
    guard_message = TextField(null=True)

    class Meta:
        table_name = "worker"


class SampleRow(Model):
    id = AutoField()
    at = FloatField()
    worker_id = IntegerField()
    trial_rss = IntegerField(null=True)
    available = IntegerField(null=True)
    total = IntegerField(null=True)
    swap_used = IntegerField(null=True)
    cpu_percent = FloatField(null=True)
    temperature = FloatField(null=True)
    gpu_percent = FloatField(null=True)
    gpu_memory = IntegerField(null=True)
    power_w = FloatField(null=True)
    disk_free = IntegerField(null=True)
    step_s = FloatField(null=True)

    class Meta:
        table_name = "sample"


class CheckpointRow(Model):
    id = AutoField()
    trial_id = IntegerField()
    step = IntegerField()
    epoch = IntegerField()
    path = TextField()
    bytes = IntegerField()
    md5 = TextField()
    seconds = FloatField()
    at = FloatField()

    class Meta:
        table_name = "checkpoint"


class StudyRow(Model):
    name = TextField(primary_key=True)
    declaration = TextField()
    created_at = FloatField()

    class Meta:
        table_name = "study"


class DrawRow(Model):
    trial_id = IntegerField()
    k = IntegerField()
    name = TextField()
    value = TextField()
    distribution = TextField()

    class Meta:
        table_name = "draw"
        primary_key = CompositeKey("trial_id", "k")


class AttemptRow(Model):
    trial_id = IntegerField()
    n = IntegerField()
    token = IntegerField()
    host = TextField(null=True)
    pid = IntegerField(null=True)
    began_at = FloatField()
    ended_at = FloatField(null=True)
    how = TextField(null=True)

    class Meta:
        table_name = "attempt"
        primary_key = CompositeKey("trial_id", "n")


class FlagRow(Model):
    name = TextField(primary_key=True)
    value = TextField()
    reason = TextField(null=True)
    who = TextField(null=True)
    at = FloatField()

    class Meta:
        table_name = "flag"


class TicketRow(Model):
    id = AutoField()
    queue = TextField()
    data = BlobField()
    priority = FloatField()

    class Meta:
        table_name = "huey_task"


class QuarantineRow(Model):
    id = AutoField()
    at = FloatField()
    data = BlobField(null=True)
    reason = TextField()

    class Meta:
        table_name = "huey_quarantine"
