"""The Trainer of transformers on a tiny BERT built from a configuration: nothing is downloaded.

    fts enqueue examples/huggingface/tiny_bert.py:objective --trials 4 --metric eval_loss
    fts worker --until-empty

Needs transformers, accelerate and torch. The task: does a sequence have more low tokens than high ones?
"""

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
