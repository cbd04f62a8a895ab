"""A PyTorch network with dropout, AdamW and a schedule: pruned, resumed at its last epoch bit for bit.

    fts enqueue examples/torch/mlp.py:objective --trials 8 -m activation=relu,tanh --metric val_loss
    fts worker --until-empty

Needs torch, scikit-learn (for its digits) and safetensors.
"""

import optuna
import torch
from sklearn.datasets import load_digits

import fts

EPOCHS, TRAIN = 6, 1300  # of 1,797 images of 8 x 8
ACTIVATIONS = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}


def objective(trial: optuna.Trial, activation: str = "relu") -> float:
    """Returns the cross-entropy on images outside the training set."""
    width = trial.suggest_int("width", 16, 64, log=True)
    dropout = trial.suggest_float("dropout", 0.0, 0.5)
    rate = trial.suggest_float("lr", 1e-3, 1e-1, log=True)
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16.0, dtype=torch.float32), torch.tensor(digits.target)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, width), ACTIVATIONS[activation](), torch.nn.Dropout(dropout), torch.nn.Linear(width, 10)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load()  # None at first; after a kill the last saved state; also restores the random generators
    if state:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    for epoch in range(state["epoch"] + 1 if state else 0, EPOCHS):
        model.train()
        for batch in torch.randperm(TRAIN).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
        schedule.step()
        model.eval()
        with torch.no_grad():
            logits = model(x[TRAIN:])
        loss = torch.nn.functional.cross_entropy(logits, y[TRAIN:]).item()
        accuracy = (logits.argmax(1) == y[TRAIN:]).float().mean().item()
        fts.report(trial, epoch, val_loss=loss, accuracy=accuracy)
        checkpoint.save({name: part.state_dict() for name, part in parts.items()} | {"epoch": epoch})
        if trial.should_prune():
            raise optuna.TrialPruned
    fts.predictions(trial, y[TRAIN:], logits.argmax(1))
    return loss
