"""`fts init command`: a script that takes its parameters as options and prints its loss, as most scripts do."""

STUDY = """\
# fts check study.toml      tries it: repeatable? resumable? how long, how much memory?
# fts enqueue study.toml    adds it to the queue;  fts worker  runs it;  fts status  shows its progress

[study]
name = "curve"
command = "python train.py --rate {rate} --decay {decay} --size {size} --seed {seed} --checkpoints {checkpoint_dir}"
seed = 0                            # same seed, same search

[matrix]                            # each combination is a cell with a search of its own
size = ["S", "L"]

[space]
rate = { low = 1e-3, high = 1.0, log = true }
decay = { low = 0.0, high = 0.1 }

[budget]
trials = 6                          # of each cell; raise it and enqueue again: more trials are added
epochs = 10                         # reports of a whole trial, for the forecast

[metrics]
loss = { goal = "minimize", regex = 'loss=([-0-9.eE+]+)' }

[search]
sampler = "tpe"                     # or random, gp
pruner = "median"                   # or none, percentile, halving
"""

SCRIPT = '''\
"""Fits a curve by gradient descent; a trial takes a second. Any program that prints its loss will do."""

import argparse
import json
import os
import random

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=0.1)
parser.add_argument("--decay", type=float, default=0.0)
parser.add_argument("--size", choices=["S", "L"], default="S")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--checkpoints", default=".")
options = parser.parse_args()

random.seed(0)
points = [(x / 20, (x / 20) ** 2 + random.gauss(0, 0.05)) for x in range(-20, 21)]
random.seed(options.seed)
weights = [random.gauss(0, 1) for _ in range(2 if options.size == "S" else 4)]
path = os.path.join(options.checkpoints, "state.json")
begin = 0
if os.path.exists(path):  # it was interrupted
    with open(path) as file:
        state = json.load(file)
    begin, weights = state["epoch"] + 1, state["weights"]

for epoch in range(begin, 10):
    for _ in range(50):
        errors = [sum(w * x**k for k, w in enumerate(weights)) - y for x, y in points]
        for k in range(len(weights)):
            slope = sum(e * x**k for e, (x, _) in zip(errors, points)) / len(points)
            weights[k] -= options.rate * (slope + options.decay * weights[k])
    loss = sum(e * e for e in errors) / len(errors)
    print(f"epoch {epoch} loss={loss:.6f}", flush=True)  # first report, then save
    with open(path + ".new", "w") as file:
        json.dump({"epoch": epoch, "weights": weights}, file)
    os.replace(path + ".new", path)
'''
