"""The kinds of studies that `fts init` can create, and the packages that each needs."""

from __future__ import annotations

import importlib.util
from dataclasses import field

from fts.frozen import dataclass
from fts.jobs.starters import boosting, commands, estimators, functions, huggingface, lightning

STUDY_FILE, SCRIPT_FILE = "study.toml", "train.py"


@dataclass(frozen=True)
class StarterKind:
    """One kind of study."""

    name: str
    what: str
    study: str  # the text of study.toml
    script: str  # the text of train.py
    needs: dict[str, str] = field(default_factory=dict)  # module -> package name for pip

    @property
    def files(self) -> dict[str, str]:
        return {STUDY_FILE: self.study, SCRIPT_FILE: self.script}

    @property
    def missing(self) -> list[str]:
        """The packages to install before a trial can run."""
        return [package for module, package in self.needs.items() if importlib.util.find_spec(module) is None]


SKLEARN = {"sklearn": "scikit-learn"}
TORCH = {"torch": "torch", "safetensors": "safetensors"}
KINDS = {
    kind.name: kind
    for kind in (
        StarterKind("function", "a Python function of an Optuna trial", functions.STUDY, functions.SCRIPT),
        StarterKind("command", "a command in any language, here a Python script", commands.STUDY, commands.SCRIPT),
        StarterKind("sklearn", "scikit-learn, fold by fold", estimators.STUDY, estimators.SCRIPT, SKLEARN),
        StarterKind("xgboost", "XGBoost", boosting.STUDY, boosting.SCRIPT, SKLEARN | {"xgboost": "xgboost"}),
        StarterKind(
            "lightning",
            "a LightningModule",
            lightning.STUDY,
            lightning.SCRIPT,
            SKLEARN | TORCH | {"lightning": "lightning"},
        ),
        StarterKind(
            "hf",
            "the Trainer of transformers",
            huggingface.STUDY,
            huggingface.SCRIPT,
            TORCH | {"transformers": "transformers", "accelerate": "accelerate"},
        ),
    )
}
