BEGIN TRANSACTION;
CREATE TABLE checkpoint (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  trial_id INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE, step INTEGER NOT NULL, epoch INTEGER NOT NULL,
  path TEXT NOT NULL, bytes INTEGER NOT NULL, md5 TEXT NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL
) STRICT;
INSERT INTO "checkpoint" VALUES(1,6,10,1,'outputs/trials/x/checkpoint-1',5,'00000000000000000000000000000000',0.1,1.79580965868901300426e+09);
CREATE TABLE epoch (
  trial_id INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE, epoch INTEGER NOT NULL CHECK (epoch >= 1),
  step INTEGER NOT NULL, train_loss REAL, val_loss REAL, train_auc REAL, val_auc REAL, val_brier REAL,
  pred_min REAL, pred_max REAL, pred_sd REAL, learning_rate REAL, samples_per_s REAL, seconds REAL, at REAL NOT NULL,
  PRIMARY KEY (trial_id, epoch)
) STRICT, WITHOUT ROWID;
INSERT INTO "epoch" VALUES(1,1,10,0.5,0.5,0.6,0.6,0.2,0.1,0.4,0.1,0.0001,100.0,2.0,1.79580965848201370236e+09);
INSERT INTO "epoch" VALUES(1,2,20,0.6,1.0e+308,0.6,0.6,0.2,0.1,0.4,0.1,0.0001,100.0,2.0,1.0e+308);
INSERT INTO "epoch" VALUES(2,1,10,0.6,0.6,0.6,0.6,0.2,0.1,0.4,0.1,0.0001,100.0,2.0,1.79580965854099535946e+09);
INSERT INTO "epoch" VALUES(3,1,10,0.6,0.6,0.6,0.6,0.2,0.1,0.4,0.1,0.0001,100.0,2.0,1.79580965855298495294e+09);
INSERT INTO "epoch" VALUES(4,1,10,0.7,0.69,0.6,0.5,0.2,0.1,0.4,0.1,0.0001,100.0,2.0,1.79580965863699173927e+09);
INSERT INTO "epoch" VALUES(5,1,10,0.7,0.69,0.6,0.6,0.2,0.1,0.4,0.1,0.0001,100.0,2.0,1.79580965866901731491e+09);
INSERT INTO "epoch" VALUES(6,1,10,0.7,0.69,0.6,0.55,0.2,0.1,0.4,0.1,0.0001,100.0,2.0,1.79580965868100666995e+09);
CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL, who TEXT NOT NULL, verb TEXT NOT NULL, job_id INTEGER, trial_id INTEGER, message TEXT NOT NULL,
  data TEXT NOT NULL CHECK (json_valid(data)), inverse TEXT CHECK (inverse IS NULL OR json_valid(inverse)),
  undone_by INTEGER REFERENCES event (id)
) STRICT;
INSERT INTO "event" VALUES(1,1.79580965844298744201e+09,'test','enqueued',1,NULL,'phase6a_2M_h1_threshold_1pct is job 1','{"new":{"hold_reason":null,"rank":1.0,"status":"queued"},"old":null}',NULL,NULL);
INSERT INTO "event" VALUES(2,1.79580965844399333001e+09,'test','enqueued',2,NULL,'phase6a_2M_h3_threshold_1pct is job 2','{"new":{"hold_reason":null,"rank":2.0,"status":"queued"},"old":null}',NULL,NULL);
INSERT INTO "event" VALUES(3,1.79580965844399333001e+09,'test','enqueued',3,NULL,'phase6a_20M_h1_threshold_1pct is job 3','[]',NULL,NULL);
INSERT INTO "event" VALUES(4,1.79580965844399333001e+09,'test','enqueued',4,NULL,'phase6a_20M_h3_threshold_1pct is job 4','{"new":{"hold_reason":null,"rank":4.0,"status":"queued"},"old":null}','{"jobs":[{"expect":{"attempt":0,"status":"queued"},"id":1,"set":{"cause":"killed by user","status":"cancelled"}},{"expect":{"attempt":0,"status":"queued"},"id":2,"set":{"cause":"killed by user","status":"cancelled"}},{"expect":{"attempt":0,"status":"queued"},"id":3,"set":{"cause":"killed by user","status":"cancelled"}},{"expect":{"attempt":0,"status":"queued"},"id":4,"set":{"cause":"killed by user","status":"cancelled"}}]}',NULL);
INSERT INTO "event" VALUES(5,1.79580965845300555231e+09,'worker 1','worker_started',NULL,NULL,'worker 1 starts on elsewhere with 1 slot, pid 4242','{"pid":4242,"worker_id":1}',NULL,NULL);
INSERT INTO "event" VALUES(6,1.79580965845799446108e+09,'worker 1','claimed',1,NULL,'worker 1 takes phase6a_2M_h1_threshold_1pct, attempt 1','{"new":{"asked":null,"attempt":1,"cause":null,"ended_at":null,"hold_reason":null,"rank":1.0,"status":"running","worker_id":1},"old":{"asked":null,"attempt":0,"cause":null,"ended_at":null,"hold_reason":null,"rank":1.0,"status":"queued","worker_id":null},"token":1}',NULL,NULL);
INSERT INTO "event" VALUES(7,1.79580965846998405455e+09,'worker 1','trial_started',1,1,'trial 0 of phase6a_2M_h1_threshold_1pct starts: d16-L1-h2-ff32','{"number":0,"params":{"architecture":"d16-L1-h2-ff32","dropout":0.25,"learning_rate":0.0003},"token":1}',NULL,NULL);
INSERT INTO "event" VALUES(8,1.79580965849698042866e+09,'worker 1','trial_complete',1,1,'trial 0 complete: finished, 0.5000','{"cause":"finished","epochs":2,"message":null,"number":0,"value":0.5}',NULL,NULL);
INSERT INTO "event" VALUES(9,1.79580965849899196629e+09,'worker 1','new_best',1,1,'new best of phase6a_2M_h1_threshold_1pct: val_loss 0.5000 (trial 0)','{"before":null,"number":0,"value":0.5}',NULL,NULL);
INSERT INTO "event" VALUES(10,1.79580965850599265096e+09,'worker 1','finished',1,NULL,'all trials have ended','{"new":{"asked":null,"attempt":1,"cause":"finished","ended_at":1795809658.5049868,"hold_reason":null,"rank":1.0,"status":"done","worker_id":null},"old":{"asked":null,"attempt":1,"cause":null,"ended_at":null,"hold_reason":null,"rank":1.0,"status":"running","worker_id":1}}',NULL,NULL);
INSERT INTO "event" VALUES(11,1.7958096585100159645e+09,'worker 2','worker_started',NULL,NULL,'worker 2 starts on elsewhere with 1 slot, pid 4242','{"pid":4242,"worker_id":2}',NULL,NULL);
INSERT INTO "event" VALUES(12,1.79580965851898789404e+09,'worker 2','claimed',2,NULL,'worker 2 takes phase6a_2M_h3_threshold_1pct, attempt 1','{"new":{"asked":null,"attempt":1,"cause":null,"ended_at":null,"hold_reason":null,"rank":2.0,"status":"running","worker_id":2},"old":{"asked":null,"attempt":0,"cause":null,"ended_at":null,"hold_reason":null,"rank":2.0,"status":"queued","worker_id":null},"token":1}',NULL,NULL);
INSERT INTO "event" VALUES(13,1.7958096585339949131e+09,'worker 2','trial_started',2,2,'trial 0 of phase6a_2M_h3_threshold_1pct starts: d16-L1-h2-ff32','{"number":0,"params":{"architecture":"d16-L1-h2-ff32","dropout":0.25,"learning_rate":0.0003},"token":1}',NULL,NULL);
INSERT INTO "event" VALUES(14,1.79580965854501867296e+09,'worker 2','trial_failed',2,2,'trial 0 failed: code error','{"cause":"code error","epochs":1,"message":"no attribute x","number":0,"value":null}',NULL,NULL);
INSERT INTO "event" VALUES(15,1.79580965854900169377e+09,'worker 2','trial_started',2,3,'trial 1 of phase6a_2M_h3_threshold_1pct starts: d16-L1-h2-ff32','{"number":1,"params":{"architecture":"d16-L1-h2-ff32","dropout":0.25,"learning_rate":0.0003},"token":1}',NULL,NULL);
INSERT INTO "event" VALUES(16,1.79580965855700826639e+09,'worker 2','trial_failed',2,3,'trial 1 failed: diverged','{"cause":"diverged","epochs":1,"message":null,"number":1,"value":null}',NULL,NULL);
INSERT INTO "event" VALUES(17,1.79580965855998539925e+09,'worker 2','failed',2,NULL,'no attribute x','{"log_tail":null,"new":{"asked":null,"attempt":1,"cause":"code error","ended_at":1795809658.5599854,"hold_reason":null,"rank":2.0,"status":"failed","worker_id":null},"old":{"asked":null,"attempt":1,"cause":null,"ended_at":null,"hold_reason":null,"rank":2.0,"status":"running","worker_id":2}}',NULL,NULL);
INSERT INTO "event" VALUES(18,1.79580965857201528546e+09,'ada@lab','retried',2,NULL,'job 2 (phase6a_2M_h3_threshold_1pct): retried with 2 trials kept; runs 1 trial again: t0, then 1 more','{"new":{"asked":null,"attempt":1,"cause":null,"ended_at":null,"hold_reason":null,"rank":2.0,"status":"queued","worker_id":null},"old":{"asked":null,"attempt":1,"cause":"code error","ended_at":1795809658.5599854,"hold_reason":null,"rank":2.0,"status":"failed","worker_id":null}}','{"jobs":[{"expect":{"attempt":1,"status":"queued"},"id":2,"set":{"acknowledged_at":null,"cause":"code error","ended_at":1795809658.5599854,"hold_reason":null,"idle_attempts":0,"message":"no attribute x","status":"failed"}}],"trials":[{"ended_at":1795809658.5450187,"job":2,"number":0}]}',NULL);
INSERT INTO "event" VALUES(19,1.79580965859901165969e+09,'ada@lab','enqueued',5,NULL,'phase6a_2M_h1_threshold_1pct_NDX_a20 is job 5','{"new":{"hold_reason":null,"rank":5.0,"status":"queued"},"old":null}',NULL,NULL);
INSERT INTO "event" VALUES(20,1.79580965859901165969e+09,'ada@lab','enqueued',6,NULL,'phase6a_2M_h1_threshold_2pct is job 6','{"new":{"hold_reason":null,"rank":6.0,"status":"queued"},"old":null}',NULL,NULL);
INSERT INTO "event" VALUES(21,1.79580965860001754764e+09,'ada@lab','enqueued',7,NULL,'phase6a_2M_h5_threshold_1pct_wf5 is job 7','{"new":{"hold_reason":null,"rank":7.0,"status":"queued"},"old":null}',NULL,NULL);
INSERT INTO "event" VALUES(22,1.79580965860001754764e+09,'ada@lab','enqueued',8,NULL,'baseline_h1_threshold_1pct_a25_NDX is job 8','{"new":{"hold_reason":null,"rank":8.0,"status":"queued"},"old":null}',NULL,NULL);
INSERT INTO "event" VALUES(23,1.79580965860001754764e+09,'ada@lab','enqueued',9,NULL,'phase6a_20M_h5_threshold_1pct_a20 is job 9','{"new":{"hold_reason":null,"rank":9.0,"status":"queued"},"old":null}','{"jobs":[{"expect":{"attempt":0,"status":"queued"},"id":5,"set":{"cause":"killed by user","status":"cancelled"}},{"expect":{"attempt":0,"status":"queued"},"id":6,"set":{"cause":"killed by user","status":"cancelled"}},{"expect":{"attempt":0,"status":"queued"},"id":7,"set":{"cause":"killed by user","status":"cancelled"}},{"expect":{"attempt":0,"status":"queued"},"id":8,"set":{"cause":"killed by user","status":"cancelled"}},{"expect":{"attempt":0,"status":"queued"},"id":9,"set":{"cause":"killed by user","status":"cancelled"}}]}',NULL);
INSERT INTO "event" VALUES(24,1.79580965860898947718e+09,'worker 3','worker_started',NULL,NULL,'worker 3 starts on elsewhere with 1 slot, pid 4242','{"pid":4242,"worker_id":3}',NULL,NULL);
INSERT INTO "event" VALUES(25,1.79580965861800169944e+09,'worker 3','claimed',6,NULL,'worker 3 takes phase6a_2M_h1_threshold_2pct, attempt 1','{"new":{"asked":null,"attempt":1,"cause":null,"ended_at":null,"hold_reason":null,"rank":-1.0,"status":"running","worker_id":3},"old":{"asked":null,"attempt":0,"cause":null,"ended_at":null,"hold_reason":null,"rank":-1.0,"status":"queued","worker_id":null},"token":1}',NULL,NULL);
INSERT INTO "event" VALUES(26,1.79580965862600803375e+09,'worker 3','trial_started',6,4,'trial 0 of phase6a_2M_h1_threshold_2pct starts: d16-L1-h2-ff32','{"number":0,"params":{"architecture":"d16-L1-h2-ff32","dropout":0.1,"learning_rate":0.001},"token":1}',NULL,NULL);
INSERT INTO "event" VALUES(27,1.79580965864399218559e+09,'worker 3','trial_complete',6,4,'trial 0 complete: finished, 0.5000','{"cause":"finished","epochs":1,"message":null,"number":0,"value":0.5}',NULL,NULL);
INSERT INTO "event" VALUES(28,1.79580965864998698235e+09,'worker 3','new_best',6,4,'new best of phase6a_2M_h1_threshold_2pct: val_auc 0.5000 (trial 0)','{"before":null,"number":0,"value":0.5}',NULL,NULL);
INSERT INTO "event" VALUES(29,1.79580965865799331666e+09,'worker 3','trial_started',6,5,'trial 1 of phase6a_2M_h1_threshold_2pct starts: d16-L1-h2-ff32','{"number":1,"params":{"architecture":"d16-L1-h2-ff32","dropout":0.1,"learning_rate":1.001},"token":1}',NULL,NULL);
INSERT INTO "event" VALUES(30,1.79580965867300033564e+09,'worker 3','trial_complete',6,5,'trial 1 complete: finished, 0.6000','{"cause":"finished","epochs":1,"message":null,"number":1,"value":0.6}',NULL,NULL);
INSERT INTO "event" VALUES(31,1.79580965867400622372e+09,'worker 3','new_best',6,5,'new best of phase6a_2M_h1_threshold_2pct: val_auc 0.6000 (trial 1)','{"before":0.5,"number":1,"value":0.6}',NULL,NULL);
INSERT INTO "event" VALUES(32,1.79580965867798924445e+09,'worker 3','trial_started',6,6,'trial 2 of phase6a_2M_h1_threshold_2pct starts: d16-L1-h2-ff32','{"number":2,"params":{"architecture":"d16-L1-h2-ff32","dropout":0.1,"learning_rate":2.001},"token":1}',NULL,NULL);
INSERT INTO "event" VALUES(33,1.79580965869299626351e+09,'worker 3','trial_interrupted',6,6,'trial 2 interrupted after epoch 1: drained','{"cause":"drained","message":"drained","number":2}',NULL,NULL);
INSERT INTO "event" VALUES(34,1.79580965869701957701e+09,'worker 3','released',6,NULL,'released: drained','{"log_tail":null,"new":{"asked":null,"attempt":1,"cause":"drained","ended_at":null,"hold_reason":null,"rank":-1.0,"status":"queued","worker_id":null},"old":{"asked":null,"attempt":1,"cause":null,"ended_at":null,"hold_reason":null,"rank":-1.0,"status":"running","worker_id":3}}',NULL,NULL);
INSERT INTO "event" VALUES(35,1.79580965869999670987e+09,'worker 1','compared',1,NULL,'trial 0 against random forest: AUC +0.010 [-0.100, +0.100], log loss +0.1000 [+0.0000, +0.2000]','{"auc":0.01,"auc_high":0.1,"auc_low":-0.1,"job_id":1,"loss":0.1,"loss_high":0.2,"loss_low":0.0,"n":40,"rival":"random forest","rival_job":2,"rival_trial":0,"trial":0}',NULL,NULL);
INSERT INTO "event" VALUES(36,1.79580965870498561855e+09,'ada@lab','paused',3,NULL,'job 3 (phase6a_20M_h1_threshold_1pct): paused','{"new":{"asked":null,"attempt":0,"cause":null,"ended_at":null,"hold_reason":null,"rank":3.0,"status":"paused","worker_id":null},"old":{"asked":null,"attempt":0,"cause":null,"ended_at":null,"hold_reason":null,"rank":3.0,"status":"queued","worker_id":null}}','{"jobs":[{"expect":{"attempt":0,"status":"paused"},"id":3,"set":{"status":"queued"}}]}',NULL);
INSERT INTO "event" VALUES(37,1.79580965870900893213e+09,'ada@lab','cancelled',4,NULL,'job 4 (phase6a_20M_h3_threshold_1pct): cancelled','{"new":{"asked":null,"attempt":0,"cause":"killed by user","ended_at":1795809658.709009,"hold_reason":null,"rank":4.0,"status":"cancelled","worker_id":null},"old":{"asked":null,"attempt":0,"cause":null,"ended_at":null,"hold_reason":null,"rank":4.0,"status":"queued","worker_id":null}}','{"jobs":[{"expect":{"attempt":0,"status":"cancelled"},"id":4,"set":{"cause":null,"ended_at":null,"status":"queued"}}]}',NULL);
INSERT INTO "event" VALUES(38,1.79580965871399784086e+09,'ada@lab','moved',5,NULL,'job 5 moved to place 1','{"new":{"rank":-2.0},"old":{"rank":5.0}}','{"jobs":[{"expect":{"rank":-2.0},"id":5,"set":{"rank":5.0}}]}',NULL);
INSERT INTO "event" VALUES(39,1.79580965871701526644e+09,'worker 3','worker_stopped',NULL,NULL,'worker 3 left','{"asked":null,"worker_id":3}',NULL,NULL);
INSERT INTO "event" VALUES(40,1.79580965872099852561e+09,'worker 2','worker_stopped',NULL,NULL,'worker 2 left','{"asked":null,"worker_id":2}',NULL,NULL);
INSERT INTO "event" VALUES(41,1.79580965872498154642e+09,'worker 1','worker_stopped',NULL,NULL,'worker 1 left','{"asked":null,"worker_id":1}',NULL,NULL);
CREATE TABLE flag (name TEXT PRIMARY KEY, value TEXT NOT NULL, reason TEXT, who TEXT, at REAL NOT NULL) STRICT;
INSERT INTO "flag" VALUES('margin:1','{"auc":0.01,"auc_high":0.1,"auc_low":-0.1,"job_id":1,"loss":0.1,"loss_high":0.2,"loss_low":0.0,"n":40,"rival":"random forest","rival_job":2,"rival_trial":0,"trial":0}',NULL,'worker 1',1.79580965869999670987e+09);
CREATE TABLE huey_counter (queue TEXT NOT NULL, key TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (queue, key));
CREATE TABLE huey_kv (queue TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (queue, key));
CREATE TABLE huey_quarantine (id INTEGER PRIMARY KEY, at REAL NOT NULL, data BLOB, reason TEXT NOT NULL);
CREATE TABLE huey_schedule (id INTEGER PRIMARY KEY, queue TEXT NOT NULL, data BLOB NOT NULL, timestamp INTEGER NOT NULL);
CREATE TABLE huey_task (id INTEGER PRIMARY KEY, queue TEXT NOT NULL, data BLOB NOT NULL, priority REAL NOT NULL);
INSERT INTO "huey_task" VALUES(1,'fts',X'7B227461736B223A20226C6F6F6B227D',0.0);
INSERT INTO "huey_task" VALUES(2,'fts',X'7B227461736B223A20226C6F6F6B227D',0.0);
INSERT INTO "huey_task" VALUES(3,'fts',X'7B227461736B223A20226C6F6F6B227D',0.0);
INSERT INTO "huey_task" VALUES(4,'fts',X'7B227461736B223A20226C6F6F6B227D',0.0);
INSERT INTO "huey_task" VALUES(5,'fts',X'7B227461736B223A20226C6F6F6B227D',0.0);
INSERT INTO "huey_task" VALUES(6,'fts',X'7B227461736B223A20226C6F6F6B227D',0.0);
INSERT INTO "huey_task" VALUES(7,'fts',X'7B227461736B223A20226C6F6F6B227D',0.0);
INSERT INTO "huey_task" VALUES(8,'fts',X'7B227461736B223A20226C6F6F6B227D',0.0);
INSERT INTO "huey_task" VALUES(9,'fts',X'7B227461736B223A20226C6F6F6B227D',0.0);
INSERT INTO "huey_task" VALUES(10,'fts',X'7B227461736B223A20226C6F6F6B227D',0.0);
INSERT INTO "huey_task" VALUES(11,'fts',X'7B227461736B223A20226C6F6F6B227D',0.0);
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
) STRICT;
INSERT INTO "job" VALUES(1,'phase6a_2M_h1_threshold_1pct','cell','2M',1,'threshold_1pct','a25','done',1.0,NULL,NULL,3,1,0,0,1,0,1,NULL,NULL,'finished','all trials have ended',0.5,0,'{"budget":"2M","channel_independent":false,"code_commit":null,"code_dirty":null,"context":80,"cv":null,"data_md5":"00000000000000000000000000000000","dataset":"SPX.dataset.a25","diverged":"ignored","effective_batch":256,"epochs":2,"experiment":"phase6a_2M_h1_threshold_1pct","focal_gamma":2.0,"grad_clip":1.0,"halving":null,"horizon":1,"kind":"cell","loss":"bce","max_steps":null,"min_delta":0.001,"min_positives":30,"norm":"revin","objective":"val_loss","origin":{},"patch":10,"patience":10,"pos_weight":false,"precision":"auto","pruner":"none","sampler":"tpe","seed":0,"space":{"architecture":{"choices":["d16-L1-h2-ff32"],"kind":"choice"}},"split":{},"stride":5,"task":"threshold_1pct","tier":"a25","trials":3,"warm_start":[]}','003a26e49220be6f836e824530f0866f',1.7958096584349811077e+09,1.79580965845698857299e+09,1.79580965850498676297e+09,NULL);
INSERT INTO "job" VALUES(2,'phase6a_2M_h3_threshold_1pct','cell','2M',3,'threshold_1pct','a25','queued',2.0,NULL,NULL,3,0,0,1,1,0,1,NULL,NULL,NULL,NULL,NULL,NULL,'{"budget":"2M","channel_independent":false,"code_commit":null,"code_dirty":null,"context":80,"cv":null,"data_md5":"00000000000000000000000000000000","dataset":"SPX.dataset.a25","diverged":"ignored","effective_batch":256,"epochs":2,"experiment":"phase6a_2M_h3_threshold_1pct","focal_gamma":2.0,"grad_clip":1.0,"halving":null,"horizon":3,"kind":"cell","loss":"bce","max_steps":null,"min_delta":0.001,"min_positives":30,"norm":"revin","objective":"val_loss","origin":{},"patch":10,"patience":10,"pos_weight":false,"precision":"auto","pruner":"none","sampler":"tpe","seed":0,"space":{"architecture":{"choices":["d16-L1-h2-ff32"],"kind":"choice"}},"split":{},"stride":5,"task":"threshold_1pct","tier":"a25","trials":3,"warm_start":[]}','a291361184d350e0da08e097e9a7fed7',1.79580965843598699569e+09,1.79580965851898789404e+09,NULL,NULL);
INSERT INTO "job" VALUES(3,'phase6a_20M_h1_threshold_1pct','cell','20M',1,'threshold_1pct','a25','paused',3.0,NULL,NULL,3,0,0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,'{"budget":"20M","channel_independent":false,"code_commit":null,"code_dirty":null,"context":80,"cv":null,"data_md5":"00000000000000000000000000000000","dataset":"SPX.dataset.a25","diverged":"ignored","effective_batch":256,"epochs":2,"experiment":"phase6a_20M_h1_threshold_1pct","focal_gamma":2.0,"grad_clip":1.0,"halving":null,"horizon":1,"kind":"cell","loss":"bce","max_steps":null,"min_delta":0.001,"min_positives":30,"norm":"revin","objective":"val_loss","origin":{},"patch":10,"patience":10,"pos_weight":false,"precision":"auto","pruner":"none","sampler":"tpe","seed":0,"space":{"architecture":{"choices":["d16-L1-h2-ff32"],"kind":"choice"}},"split":{},"stride":5,"task":"threshold_1pct","tier":"a25","trials":3,"warm_start":[]}','a73c5da1579d8f9d41570eb6c9d945b0',1.79580965844198179245e+09,NULL,NULL,NULL);
INSERT INTO "job" VALUES(4,'phase6a_20M_h3_threshold_1pct','cell','20M',3,'threshold_1pct','a25','cancelled',4.0,NULL,NULL,3,0,0,0,0,0,0,NULL,NULL,'killed by user',NULL,NULL,NULL,'{"budget":"20M","channel_independent":false,"code_commit":null,"code_dirty":null,"context":80,"cv":null,"data_md5":"00000000000000000000000000000000","dataset":"SPX.dataset.a25","diverged":"ignored","effective_batch":256,"epochs":2,"experiment":"phase6a_20M_h3_threshold_1pct","focal_gamma":2.0,"grad_clip":1.0,"halving":null,"horizon":3,"kind":"cell","loss":"bce","max_steps":null,"min_delta":0.001,"min_positives":30,"norm":"revin","objective":"val_loss","origin":{},"patch":10,"patience":10,"pos_weight":false,"precision":"auto","pruner":"none","sampler":"tpe","seed":0,"space":{"architecture":{"choices":["d16-L1-h2-ff32"],"kind":"choice"}},"split":{},"stride":5,"task":"threshold_1pct","tier":"a25","trials":3,"warm_start":[]}','93f897e6eae484ce06cc4b9ad2128d57',1.79580965844298744201e+09,NULL,1.79580965870900893213e+09,NULL);
INSERT INTO "job" VALUES(5,'phase6a_2M_h1_threshold_1pct_NDX_a20','cell','2M',1,'threshold_1pct','a20','queued',-2.0,NULL,NULL,3,0,0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,'{"budget":"2M","channel_independent":false,"code_commit":null,"code_dirty":null,"context":80,"cv":null,"data_md5":"00000000000000000000000000000000","dataset":"NDX.dataset.a20","diverged":"ignored","effective_batch":256,"epochs":2,"experiment":"phase6a_2M_h1_threshold_1pct_NDX_a20","focal_gamma":2.0,"grad_clip":1.0,"halving":null,"horizon":1,"kind":"cell","loss":"bce","max_steps":null,"min_delta":0.001,"min_positives":30,"norm":"revin","objective":"val_loss","origin":{},"patch":10,"patience":10,"pos_weight":false,"precision":"auto","pruner":"none","sampler":"tpe","seed":0,"space":{"architecture":{"choices":["d16-L1-h2-ff32"],"kind":"choice"}},"split":{},"stride":5,"task":"threshold_1pct","tier":"a20","trials":3,"warm_start":[]}','eb98bccb417aba84d4ca29746fa759d5',1.79580965858798766131e+09,NULL,NULL,NULL);
INSERT INTO "job" VALUES(6,'phase6a_2M_h1_threshold_2pct','cell','2M',1,'threshold_2pct','a25','queued',-1.0,NULL,NULL,3,2,0,0,1,0,1,NULL,NULL,'drained',NULL,0.6,1,'{"budget":"2M","channel_independent":false,"code_commit":null,"code_dirty":null,"context":80,"cv":null,"data_md5":"00000000000000000000000000000000","dataset":"SPX.dataset.a25","diverged":"ignored","effective_batch":256,"epochs":2,"experiment":"phase6a_2M_h1_threshold_2pct","focal_gamma":2.0,"grad_clip":1.0,"halving":null,"horizon":1,"kind":"cell","loss":"bce","max_steps":null,"min_delta":0.001,"min_positives":30,"norm":"revin","objective":"val_auc","origin":{},"patch":10,"patience":10,"pos_weight":false,"precision":"auto","pruner":"none","sampler":"tpe","seed":0,"space":{"architecture":{"choices":["d16-L1-h2-ff32"],"kind":"choice"}},"split":{},"stride":5,"task":"threshold_2pct","tier":"a25","trials":3,"warm_start":[]}','bff583962403725616ca816d333a3cad',1.79580965859398245811e+09,1.79580965861699581149e+09,NULL,NULL);
INSERT INTO "job" VALUES(7,'phase6a_2M_h5_threshold_1pct_wf5','cell','2M',5,'threshold_1pct','a25','queued',7.0,NULL,NULL,3,0,0,0,0,0,0,NULL,NULL,NULL,']52;c;ZXZpbA==',NULL,NULL,'5','fcc57c1c0ebb4b764dd6db2abee480ad',1.79580965859599399562e+09,NULL,NULL,NULL);
INSERT INTO "job" VALUES(8,'baseline_h1_threshold_1pct_a25_NDX','baseline','base',1,'threshold_1pct','a25','queued',8.0,NULL,NULL,3,0,0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,'{"budget":"base","channel_independent":false,"code_commit":null,"code_dirty":null,"context":80,"cv":null,"data_md5":"00000000000000000000000000000000","dataset":"NDX.dataset.a25","diverged":"ignored","effective_batch":256,"epochs":2,"experiment":"baseline_h1_threshold_1pct_a25_NDX","focal_gamma":2.0,"grad_clip":1.0,"halving":null,"horizon":1,"kind":"baseline","loss":"bce","max_steps":null,"min_delta":0.001,"min_positives":30,"norm":"revin","objective":"val_loss","origin":{},"patch":10,"patience":10,"pos_weight":false,"precision":"auto","pruner":"none","sampler":"tpe","seed":0,"space":{"architecture":{"choices":["d16-L1-h2-ff32"],"kind":"choice"}},"split":{},"stride":5,"task":"threshold_1pct","tier":"a25","trials":3,"warm_start":[]}','d7dc58ab6eeaa649c130f5ef15b3257a',1795809658.597,NULL,NULL,NULL);
INSERT INTO "job" VALUES(9,'phase6a_20M_h5_threshold_1pct_a20','cell','[@click=app.quit]',-1,'threshold_1pct','a20','no such word',9.0,NULL,NULL,3,0,0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,'{"budget":"20M","channel_independent":false,"code_commit":null,"code_dirty":null,"context":80,"cv":null,"data_md5":"00000000000000000000000000000000","dataset":"SPX.dataset.a20","diverged":"ignored","effective_batch":256,"epochs":2,"experiment":"phase6a_20M_h5_threshold_1pct_a20","focal_gamma":2.0,"grad_clip":1.0,"halving":null,"horizon":5,"kind":"cell","loss":"bce","max_steps":null,"min_delta":0.001,"min_positives":30,"norm":"revin","objective":"val_loss","origin":{},"patch":10,"patience":10,"pos_weight":false,"precision":"auto","pruner":"none","sampler":"tpe","seed":0,"space":{"architecture":{"choices":["d16-L1-h2-ff32"],"kind":"choice"}},"split":{},"stride":5,"task":"threshold_1pct","tier":"a20","trials":3,"warm_start":[]}','9be84138ed3c4d52756247e8f7627525',1.79580965859901165969e+09,NULL,NULL,NULL);
CREATE TABLE sample (
  id INTEGER PRIMARY KEY,
  at REAL NOT NULL, worker_id INTEGER NOT NULL REFERENCES worker (id), trial_rss INTEGER, available INTEGER,
  total INTEGER, swap_used INTEGER, cpu_percent REAL, temperature REAL, gpu_percent REAL, gpu_memory INTEGER,
  power_w REAL, disk_free INTEGER, step_s REAL
) STRICT;
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
) STRICT;
INSERT INTO "trial" VALUES(1,1,0,'complete','[]','{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}}','4bb9e0de5005747b62cadb7fc69c584a','d16-L1-h2-ff32',10000,'val_loss',0.5,1,0.5,2,0.5,0.6,0.55,0.65,NULL,400,90,0.53,'00000000000000000000000000000001',NULL,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]',NULL,'finished',NULL,NULL,1.79580965846998405455e+09,1.79580965849698042866e+09,4.0,NULL,NULL);
INSERT INTO "trial" VALUES(2,2,0,'failed','{"architecture":"d16-L1-h2-ff32","dropout":0.25,"learning_rate":0.0003}','{"n":0}','4bb9e0de5005747b62cadb7fc69c584a','d16-L1-h2-ff32',10000,'val_loss',NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,400,90,0.53,'00000000000000000000000000000002',NULL,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]',NULL,'code error','no attribute x',NULL,1.79580965853298902515e+09,NULL,2.0,NULL,NULL);
INSERT INTO "trial" VALUES(3,2,1,'failed','{"architecture":"d16-L1-h2-ff32","dropout":0.25,"learning_rate":0.0003}','{"n":1}','082c26c8a6bc75226a31da5495cc9292','d16-L1-h2-ff32',10000,'val_loss',NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,400,90,0.53,'00000000000000000000000000000002',NULL,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'["diverged"]',NULL,'diverged',NULL,NULL,1.79580965854900169377e+09,1.79580965855700826639e+09,2.0,NULL,NULL);
INSERT INTO "trial" VALUES(4,6,0,'complete','{"architecture":"d16-L1-h2-ff32","dropout":0.1,"learning_rate":0.001}','{"n":0}','4bb9e0de5005747b62cadb7fc69c584a','d16-L1-h2-ff32',NULL,'val_auc',0.5,1,0.5,1,0.69,0.5,0.4,0.7,NULL,NULL,NULL,NULL,'abababababababababababababababab',NULL,'cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd',NULL,NULL,0,NULL,'lab',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]',NULL,'finished',NULL,NULL,1.79580965862600803375e+09,1.79580965864399218559e+09,2.0,NULL,NULL);
INSERT INTO "trial" VALUES(5,6,1,'complete','{"architecture":"d16-L1-h2-ff32","dropout":0.1,"learning_rate":1.001}','{"n":1}','082c26c8a6bc75226a31da5495cc9292','d16-L1-h2-ff32',NULL,'val_auc',0.6,1,0.6,1,0.69,0.6,0.4,0.7,NULL,NULL,NULL,NULL,'abababababababababababababababab',NULL,'cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd',NULL,NULL,1,NULL,'lab',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]',NULL,'finished',NULL,NULL,1.7958096586569876671e+09,1.79580965867300033564e+09,2.0,NULL,NULL);
INSERT INTO "trial" VALUES(6,6,2,'interrupted','{"architecture":"d16-L1-h2-ff32","dropout":0.1,"learning_rate":2.001}','{"n":2}','fa3f212516c45c713781b9dae87824a9','d16-L1-h2-ff32',NULL,'val_auc',NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'abababababababababababababababab',NULL,'cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd',NULL,NULL,2,NULL,'lab',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]',NULL,'drained','drained',NULL,1.7958096586769833565e+09,NULL,2.0,NULL,NULL);
CREATE TABLE worker (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  host TEXT NOT NULL, pid INTEGER NOT NULL, pid_started REAL NOT NULL, slots INTEGER NOT NULL CHECK (slots >= 1),
  status TEXT NOT NULL CHECK (status IN ('running', 'stopped', 'lost')),
  asked TEXT CHECK (asked IS NULL OR asked IN ('drain_job', 'drain_trial', 'stop')),
  started_at REAL NOT NULL, heartbeat_at REAL NOT NULL, beats INTEGER NOT NULL DEFAULT 0, stopped_at REAL,
  guard TEXT NOT NULL DEFAULT 'unknown', guard_message TEXT
) STRICT;
INSERT INTO "worker" VALUES(1,'elsewhere',4242,1.0,1,'stopped',NULL,1.79580965845300555231e+09,1.79580965845300555231e+09,0,1.79580965872498154642e+09,'unknown',NULL);
INSERT INTO "worker" VALUES(2,'elsewhere',4242,1.0,1,'stopped',NULL,1795809658.50901,1795809658.50901,0,1.79580965872099852561e+09,'unknown',NULL);
INSERT INTO "worker" VALUES(3,'elsewhere',4242,1.0,1,'stopped',NULL,1.79580965860898947718e+09,1.79580965860898947718e+09,0,1.79580965871701526644e+09,'unknown',NULL);
CREATE INDEX huey_task_next ON huey_task (queue, priority DESC, id);
CREATE INDEX huey_schedule_due ON huey_schedule (queue, timestamp);
CREATE UNIQUE INDEX job_live_spec ON job (spec_md5) WHERE status IN ('queued', 'running', 'paused');
CREATE INDEX job_runnable ON job (rank, id) WHERE status = 'queued' AND hold_reason IS NULL;
CREATE INDEX job_waiting ON job (rank, id) WHERE status IN ('queued', 'paused');
CREATE INDEX job_running ON job (worker_id) WHERE status = 'running';
CREATE INDEX job_rank ON job (rank);
CREATE INDEX job_experiment ON job (experiment);
CREATE UNIQUE INDEX trial_live ON trial (job_id) WHERE status IN ('running', 'interrupted');
CREATE INDEX trial_label ON trial (label_md5) WHERE label_md5 IS NOT NULL;
CREATE INDEX event_job ON event (job_id, id);
CREATE INDEX event_verb ON event (verb, id);
CREATE INDEX event_at ON event (at);
CREATE INDEX event_undoable ON event (id) WHERE inverse IS NOT NULL AND undone_by IS NULL;
CREATE INDEX sample_worker ON sample (worker_id, at);
CREATE INDEX sample_at ON sample (at);
CREATE INDEX checkpoint_trial ON checkpoint (trial_id, id);
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
ORDER BY CASE job.status WHEN 'running' THEN 0 WHEN 'queued' THEN 1 WHEN 'paused' THEN 1 ELSE 2 END, rank, job.id;
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
ORDER BY job.id, number;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('job',9);
INSERT INTO "sqlite_sequence" VALUES('event',41);
INSERT INTO "sqlite_sequence" VALUES('worker',3);
INSERT INTO "sqlite_sequence" VALUES('trial',6);
INSERT INTO "sqlite_sequence" VALUES('checkpoint',1);
COMMIT;
