"""`fts init hf`: the Trainer of transformers with a tiny model, which resumes at its last epoch."""

STUDY = """\
# fts check study.toml      tries it: repeatable? resumable? how long, how much memory?
# fts enqueue study.toml    adds it to the queue;  fts worker  runs it;  fts status  shows its progress

[study]
name = "tokens"
objective = "train.py:objective"
seed = 0                            # same seed, same search

[budget]
trials = 3                          # raise it and enqueue again: more trials are added
epochs = 4                          # reports of a whole trial: epochs

[metrics]
eval_loss = { goal = "minimize" }

[search]
sampler = "tpe"                     # or random, gp
pruner = "median"                   # or none, percentile, halving
"""

SCRIPT = '''\
"""The Trainer of transformers on a tiny BERT, made from its configuration: nothing is downloaded."""

import optuna
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import fts

TOKENS, LENGTH, EPOCHS = 32, 12, 4


def sequences(count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    tokens = torch.randint(0, TOKENS, (count, LENGTH), generator=torch.Generator().manual_seed(seed))
    labels = (tokens < TOKENS // 2).float().mean(1).gt(0.5).long()
    return [{"input_ids": one, "labels": label} for one, label in zip(tokens, labels, strict=True)]


def objective(trial: optuna.Trial) -> float:
    """Returns the cross-entropy on sequences outside the training set."""
    config = BertConfig(
        vocab_size=TOKENS,
        hidden_size=trial.suggest_categorical("hidden_size", [16, 32]),
        num_hidden_layers=trial.suggest_int("layers", 1, 2),
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
    )
    callback = fts.callbacks.huggingface(trial, "eval_loss")
    arguments = TrainingArguments(
        output_dir=str(fts.checkpoint(trial).dir / "output"),
        num_train_epochs=EPOCHS,
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        per_device_train_batch_size=32,
        eval_strategy="epoch",
        save_strategy="no",  # the callback saves
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=fts.seed(trial, "training") % 2**31,
    )
    trainer = Trainer(
        model_init=lambda: BertForSequenceClassification(config),
        args=arguments,
        train_dataset=sequences(256, seed=1),
        eval_dataset=sequences(128, seed=2),
        callbacks=[callback],
    )
    trainer.train(resume_from_checkpoint=callback.resume_from_checkpoint)
    return callback.value
'''
