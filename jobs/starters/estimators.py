"""`fts init sklearn`: a random forest and a support vector machine, with one report per fold."""

STUDY = """\
# fts check study.toml      tries it: repeatable? resumable? how long, how much memory?
# fts enqueue study.toml    adds it to the queue;  fts worker  runs it;  fts status  shows its progress

[study]
name = "iris"
objective = "train.py:objective"
seed = 0                            # same seed, same search

[matrix]                            # each combination is a cell with a search of its own
model = ["forest", "svm"]

[budget]
trials = 6                          # of each cell; raise it and enqueue again: more trials are added
epochs = 5                          # reports of a whole trial: folds

[metrics]
accuracy = { goal = "maximize" }

[search]
sampler = "tpe"                     # or random, gp
pruner = "median"                   # or none, percentile, halving
"""

SCRIPT = '''\
"""Two estimators on scikit-learn's iris, five folds each; a trial takes a second. Put your own data here."""

import optuna
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

import fts


def objective(trial, model="forest"):
    x, y = load_iris(return_X_y=True)
    if model == "svm":
        estimator = SVC(C=trial.suggest_float("C", 1e-3, 1e3, log=True), gamma="scale")
    else:
        depth = trial.suggest_int("depth", 1, 8)
        estimator = RandomForestClassifier(n_estimators=trial.suggest_int("trees", 5, 40), max_depth=depth)
    checkpoint = fts.checkpoint(trial)  # survives kill -9: a finished fold is not computed again
    scores = checkpoint.load() or []
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(x, y))
    for fold in range(len(scores), len(folds)):
        train, test = folds[fold]
        estimator.fit(x[train], y[train])
        scores.append(float(estimator.score(x[test], y[test])))
        fts.report(trial, fold, accuracy=sum(scores) / len(scores))
        checkpoint.save(scores)
        if trial.should_prune():
            raise optuna.TrialPruned
    return sum(scores) / len(scores)
'''
