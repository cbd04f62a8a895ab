"""The commands of this study, and their places in `fts --help`."""

from __future__ import annotations

from fts.jobs.api.study import Command

CLI = "fts.study.cli"
OWN = "The PatchTST study"
COMMANDS = (
    Command(
        "Begin",
        40,
        "enqueue",
        f"{CLI}.enqueue:enqueue",
        "enqueue a study: a function, a command, study.toml, a matrix",
        {"enqueue": "fts enqueue --matrix --budgets 2M,20M --horizons 1,3 --trials 30"},
    ),
    Command(
        "Begin",
        60,
        "run",
        f"{CLI}.run:run",
        "run one cell here and now, without the queue",
        {"run": "fts run 2M/h1 --trials 3"},
    ),
    Command(
        "Look",
        90,
        "plan",
        f"{CLI}.plan:plan",
        "expected cost and gain of each remaining cell; --memory: bytes and recipe",
        {"plan": "fts plan 2M --memory"},
    ),
    Command(
        OWN,
        10,
        "demo",
        f"{CLI}.run:demo",
        "all of it, small, on real S&P 500 data, in minutes",
        {"demo": "fts demo"},
    ),
    Command(
        OWN,
        12,
        "data",
        f"{CLI}.data:data",
        "data sets: build, list, verify, register",
        {
            "data build": "fts data build bars.csv --ticker SPY",
            "data list": "fts data list",
            "data register": "fts data register vix.csv --ticker VIX",
            "data verify": "fts data verify",
        },
    ),
    Command(
        OWN,
        14,
        "budgets",
        f"{CLI}.enqueue:budgets",
        "model sizes, and the architectures in each",
        {"budgets": "fts budgets 2M"},
    ),
    Command(
        OWN,
        20,
        "train",
        f"{CLI}.winners:train",
        "final model of a cell's winner, on training and validation",
        {"train": "fts train 2M/h1"},
    ),
    Command(
        OWN,
        30,
        "predict",
        f"{CLI}.winners:predict",
        "probabilities of a final model for new bars",
        {"predict": "fts predict 2M_h1_threshold_1pct_t7 bars.csv"},
    ),
    Command(
        OWN,
        40,
        "replicate",
        f"{CLI}.winners:replicate",
        "the winner again with other seeds: how much is luck",
        {"replicate": "fts replicate 2M/h1 --seeds 5"},
    ),
    Command(
        OWN,
        50,
        "final",
        f"{CLI}.final:final",
        "evaluate a cell's final model on its test set, once",
        {"final": "fts final 2M/h1"},
    ),
    Command(
        OWN,
        60,
        "unseal",
        f"{CLI}.winners:unseal",
        "open a cell's test set: once, and it cannot be undone",
        {"unseal": "fts unseal 2M/h1"},
    ),
    Command(
        OWN,
        70,
        "script",
        f"{CLI}.script:script",
        "write a script that runs one cell by hand",
        {"script": "fts script 2M/h1 --out scripts"},
    ),
)
