"""`fts init lightning`: a LightningModule that resumes at its last epoch."""

STUDY = """\
# fts check study.toml      tries it: repeatable? resumable? how long, how much memory?
# fts enqueue study.toml    adds it to the queue;  fts worker  runs it;  fts status  shows its progress

[study]
name = "digits"
objective = "train.py:objective"
seed = 0                            # same seed, same search

[budget]
trials = 3                          # raise it and enqueue again: more trials are added
epochs = 5                          # reports of a whole trial: epochs

[metrics]
val_loss = { goal = "minimize" }

[search]
sampler = "tpe"                     # or random, gp
pruner = "median"                   # or none, percentile, halving
"""

SCRIPT = '''\
"""A LightningModule on scikit-learn's digits; a trial takes seconds. Put your own module and data here."""

import lightning.pytorch as lightning
import optuna
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import fts

TRAIN = 1300


class Classifier(lightning.LightningModule):
    """One hidden layer with dropout."""

    def __init__(self, width: int, dropout: float, lr: float) -> None:
        super().__init__()
        self.lr = lr
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Dropout(dropout), torch.nn.Linear(width, 10)
        )

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        logits = self.layers(batch[0])
        self.log("val_loss", torch.nn.functional.cross_entropy(logits, batch[1]))
        self.log("val_acc", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)}


def objective(trial: optuna.Trial) -> float:
    """Returns the cross-entropy on images outside the training set."""
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16.0, dtype=torch.float32), torch.tensor(digits.target)
    model = Classifier(
        width=trial.suggest_int("width", 16, 64, log=True),
        dropout=trial.suggest_float("dropout", 0.0, 0.5),
        lr=trial.suggest_float("lr", 1e-3, 1e-1, log=True),
    )
    callback = fts.callbacks.lightning(trial, "val_loss")
    trainer = lightning.Trainer(
        max_epochs=5,
        accelerator="cpu",
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,  # Lightning's own; the callback saves instead
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(
        model,
        DataLoader(TensorDataset(x[:TRAIN], y[:TRAIN]), batch_size=64, shuffle=True),
        DataLoader(TensorDataset(x[TRAIN:], y[TRAIN:]), batch_size=512),
        ckpt_path=callback.ckpt_path,
    )
    return callback.value
'''
