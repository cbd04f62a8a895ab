"""Reads the folder of a final model. Checks every size and checksum before anything large is read or built."""

# shapes: F features, N tokens, D width

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import psutil
import torch

from fts.features import tiers
from fts.jobs.api.spec import config_md5
from fts.model.architecture import ModelConfig
from fts.model.budgets import count_parameters, weight_shapes
from fts.model.patchtst import PatchTST
from fts.raising import quoted
from fts.study.cell import LIMITS
from fts.training.checkpoint import CheckpointError, file_md5, read_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1  # of a model folder
FILES = ("config.json", "scaler.json", "model.safetensors")  # all of them are needed
MD5S = ("config_md5", "scaler_md5", "weights_md5")
KEYS = ("features", "model", "weights_md5", "context", "tier")  # required keys of config.json
CURE = "take it from a copy, or train the model again"
TEXT_BYTES = 4 << 20  # largest config.json and scaler.json; ours have a few kB
HEADER_BYTES = 4 << 20  # largest header of the weights; 256 layers take 0.4 MB
FEATURES_MOST = 1000
PARAMETERS_MOST = 2_500_000_000  # a quarter more than the largest budget
DIGITS_MOST = 300  # of a whole number in a JSON file; a float cannot hold more
ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}  # of the types that weights may have
WINDOW_BYTES = 1 << 30  # largest memory of one window in the model
BATCH_BYTES = 1 << 31  # largest memory of a batch of windows
BATCH = 256  # windows per batch
PLAIN = 1e100  # no feature of ours has a larger mean or standard deviation


class NoModel(FileNotFoundError):
    """A folder without a complete final model."""


@dataclass(frozen=True)
class FinalModel:
    """A model folder that was read and checked."""

    folder: Path
    config: dict[str, Any]
    model: PatchTST
    mean: NDArray[np.float64]  # F; of the training rows
    sd: NDArray[np.float64]

    @property
    def context(self) -> int:
        return int(self.config["context"])

    @property
    def batch(self) -> int:
        """Number of windows per batch: fewer for a model whose windows are large."""
        return max(1, min(BATCH, BATCH_BYTES // bytes_of_window(self.model.config)))


def load_model(folder: Path | str) -> FinalModel:
    """Raises NoModel for a folder without a complete model, CheckpointError for damaged or foreign weights."""
    folder = Path(folder)
    try:
        return _load(folder)
    except RecursionError:  # from reading, comparing or printing JSON that is nested a thousand levels deep
        raise NoModel(
            f"{folder} holds no final model: config.json or scaler.json is nested too deeply; {CURE}"
        ) from None


def _load(folder: Path) -> FinalModel:
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise NoModel(f"{folder} holds no final model: {', '.join(missing)} is missing; `fts train CELL` makes one")
    config, scaler = (_stored(folder / name, kind) for name, kind in (("config.json", dict), ("scaler.json", list)))
    if config.get("format") != FORMAT:
        raise NoModel(f"{folder} has format {quoted(config.get('format'), 20)}, this fts reads format {FORMAT}")
    if missing := [name for name in KEYS if name not in config]:
        _damaged(folder / "config.json", f"no {', '.join(missing)}")
    path = folder / "model.safetensors"
    header = read_header(path)
    trained = _trained(path, header)
    require_same(folder / "config.json", config, trained)
    built = _config(folder / "config.json", config)
    _require_shapes(path, header, built)
    mean, sd = _scaler(folder / "scaler.json", scaler, config)
    _require_md5s(folder, config)
    _require_memory(folder, built)
    return FinalModel(folder, config, _model(path, built), mean, sd)


def md5_of_config(config: dict[str, Any]) -> str:
    """Returns the md5 of config.json without this md5 itself."""
    return config_md5({name: value for name, value in config.items() if name != "config_md5"})


def _damaged(path: Path, what: str) -> NoReturn:
    raise NoModel(f"{path} is damaged ({what}); {CURE}")


def _stored(path: Path, kind: type) -> Any:
    """Reads a JSON file of a model folder. Raises NoModel for a damaged one."""
    if (size := path.stat().st_size) > TEXT_BYTES:
        _damaged(path, f"{size:,} bytes, at most {TEXT_BYTES:,} are read")
    try:
        found = json.loads(path.read_text("utf-8"), parse_int=_whole)
    except ValueError as damage:  # invalid JSON, UTF-8 or numbers
        _damaged(path, str(damage))
    if not isinstance(found, kind):
        _damaged(path, f"no {'object' if kind is dict else 'list'}")
    return found


def _whole(digits: str) -> int:
    if len(digits) > DIGITS_MOST:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def read_header(path: Path) -> dict[str, Any]:
    """Returns the header of a safetensors file without its weights. Raises CheckpointError for another kind of file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(HEADER_BYTES, size - 8):
            raise CheckpointError(f"{path} is not a complete safetensors file (a header of {length:,} bytes); {CURE}")
        try:
            header = json.loads(file.read(length), parse_int=_whole)
        except (ValueError, RecursionError) as damage:
            what = "nested too deeply" if isinstance(damage, RecursionError) else f"{damage}"[:80]
            raise CheckpointError(f"{path} is not a complete safetensors file (its header: {what}); {CURE}") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} is not a complete safetensors file (its header is not an object); {CURE}")
    return header


def _trained(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """Returns the model config that is stored in the header of the weights."""
    about = header.get("__metadata__")
    told = about.get("fts") if isinstance(about, dict) else None
    try:
        facts = json.loads(told, parse_int=_whole) if isinstance(told, str) else None
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or not isinstance(facts.get("model"), dict):
        raise CheckpointError(f"{path} does not say which model its weights belong to; {CURE}")
    found: dict[str, Any] = facts["model"]
    return found


def require_same(path: Path, config: dict[str, Any], trained: dict[str, Any]) -> None:
    """Raises NoModel if config.json describes another model than the header of the weights.

    Checked before a model is built: with another norm or number of heads the weights would load and predict other
    values, and a shape that is too large would take all memory.
    """
    told = config["model"]
    said: list[tuple[str, object, object]]
    if isinstance(told, dict):
        said = [(name, told.get(name), trained.get(name)) for name in sorted({*told, *trained})]
    else:
        said = [("model", told, trained)]
    features = config["features"]
    said += [
        ("context", config["context"], trained.get("context")),
        ("number of features", len(features) if isinstance(features, list) else features, trained.get("n_features")),
    ]
    for name, here, there in said:
        if here != there:
            raise NoModel(
                f"{path} says {name} {quoted(here, 40)}, the weights are of a model with {quoted(there, 40)}; {CURE}"
            )


def _config(path: Path, config: dict[str, Any]) -> ModelConfig:
    """Returns the config of the model, if each of its numbers is within our limits. Raises NoModel."""
    features, tier = config["features"], config["tier"]
    if not (isinstance(features, list) and all(isinstance(name, str) for name in features)):
        _damaged(path, "features is no list of names")
    if len(features) > FEATURES_MOST or len(set(features)) != len(features):
        _damaged(path, f"{len(features)} features, expected at most {FEATURES_MOST}, each once")
    if not isinstance(tier, str) or tier not in tiers.TIERS:
        _damaged(path, f"tier {quoted(tier, 20)}, expected one of {', '.join(tiers.TIERS)}")
    if not isinstance(config.get("cell", {}), dict):
        _damaged(path, "cell is no object")
    if not isinstance(config["model"].get("channel_independent", False), bool):
        _damaged(path, "channel_independent is neither true nor false")
    try:
        built = ModelConfig.from_json(config["model"])
        lowest, highest = LIMITS["context"]
        if not lowest <= built.context <= highest:
            raise ValueError(f"a window of {built.context} days, expected {lowest:.0f} to {highest:,.0f}")
        if built.n_outputs != 1:
            raise ValueError(f"{built.n_outputs} outputs, expected 1")
        if (count := count_parameters(built)) > PARAMETERS_MOST:
            raise ValueError(f"{count:,} parameters, expected at most {PARAMETERS_MOST:,}")
        if (need := bytes_of_window(built)) > WINDOW_BYTES:
            raise ValueError(f"one window would take {need:,} bytes of memory, expected at most {WINDOW_BYTES:,}")
    except (ValueError, TypeError, KeyError, AttributeError) as wrong:
        _damaged(path, f"{wrong}"[:200])
    return built


def bytes_of_window(config: ModelConfig) -> int:
    """Estimates the bytes of one window in the model: queries, keys, values, attention weights, feed-forward."""
    a, N = config.architecture, config.n_tokens
    sequences = config.n_features if config.channel_independent else 1
    return 4 * (sequences * N * (6 * a.d_model + 2 * a.d_ff + a.n_heads * N) + config.context * config.n_features)


def _require_shapes(path: Path, header: dict[str, Any], config: ModelConfig) -> None:
    """Raises CheckpointError unless the file holds exactly the weights of that model: names, shapes and bytes."""
    stored = {name: value for name, value in header.items() if name != "__metadata__"}
    misfit = f"{path} holds other weights than config.json describes"
    if 12 * config.architecture.n_layers > len(stored):  # before the names of so many layers are generated
        raise CheckpointError(f"{misfit} ({len(stored)} tensors for {config.architecture.n_layers} layers); {CURE}")
    expected = dict(weight_shapes(config))
    if odd := sorted(expected.keys() ^ stored.keys()):
        raise CheckpointError(f"{misfit} ({odd[0]:.60}); {CURE}")
    total = 0
    for name, shape in expected.items():
        entry = stored[name]
        kind = entry.get("dtype") if isinstance(entry, dict) else None
        if not isinstance(kind, str) or kind not in ITEM_BYTES or entry.get("shape") != list(shape):
            raise CheckpointError(f"{misfit} ({name}: {quoted(entry, 60)}, expected {list(shape)}); {CURE}")
        total += math.prod(shape) * ITEM_BYTES[kind]
    with path.open("rb") as file:
        begin = 8 + int.from_bytes(file.read(8), "little")
    if begin + total != (size := path.stat().st_size):
        raise CheckpointError(f"{path} has {size:,} bytes, its weights take {begin + total:,}: it is cut off; {CURE}")


def _scaler(path: Path, scaler: list[Any], config: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns mean and sd of the training rows, F each. Raises NoModel for invalid numbers."""
    if not all(isinstance(entry, dict) and {"feature", "mean", "sd"} <= set(entry) for entry in scaler):
        _damaged(path, "an entry without feature, mean and sd")
    if [entry["feature"] for entry in scaler] != config["features"]:
        raise NoModel(f"{path.parent}: scaler.json and config.json name different features; train the model again")
    for entry in scaler:
        if not all(_is_plain(entry[part]) for part in ("mean", "sd")) or entry["sd"] <= 0:
            raise NoModel(
                f"{path} has mean {quoted(entry['mean'], 20)} and sd {quoted(entry['sd'], 20)} for "
                f"{entry['feature']:.60}, "
                f"expected two numbers and an sd above 0; {CURE}"
            )
    mean, sd = (np.array([entry[part] for entry in scaler], dtype=np.float64) for part in ("mean", "sd"))
    return mean, sd


def _is_plain(value: object) -> bool:
    """Whether it is a plausible number; integers are compared before conversion, because float(10**400) fails."""
    return isinstance(value, float | int) and not isinstance(value, bool) and -PLAIN < value < PLAIN


def _require_md5s(folder: Path, config: dict[str, Any]) -> None:
    """Raises unless every file has the md5 of the training. Weights come last, because they may take a minute."""
    path = folder / "config.json"
    for name in MD5S:
        if not isinstance(config.get(name), str) or not re.fullmatch("[0-9a-f]{32}", config[name]):
            _damaged(path, f"no {name}; a model without its checksums is not used")
    if config["config_md5"] != md5_of_config(config):  # any weights would fit a changed horizon
        raise NoModel(f"{path} is not the one this model was trained with; {CURE}")
    if config["scaler_md5"] != file_md5(folder / "scaler.json"):
        raise NoModel(f"{folder / 'scaler.json'} is not the one this model was trained with; {CURE}")
    weights = folder / "model.safetensors"
    if (md5 := file_md5(weights)) != config["weights_md5"]:  # one changed byte still loads, and predicts other values
        raise CheckpointError(
            f"{weights} has md5 {md5[:12]}, config.json says {config['weights_md5'][:12]}: the weights are damaged or "
            "another model's; take the folder from a copy, or train the model again"
        )


def _require_memory(folder: Path, config: ModelConfig) -> None:
    """Raises NoModel if the model does not fit into the free memory."""
    needed = 8 * count_parameters(config) + min(BATCH_BYTES, BATCH * bytes_of_window(config))  # file and model
    if needed > (free := psutil.virtual_memory().available):
        raise NoModel(
            f"{folder} needs {needed:,} bytes of memory and {free:,} are free; stop other programs, then try again"
        )


def _model(path: Path, config: ModelConfig) -> PatchTST:
    """Returns the model with its weights. Raises CheckpointError for weights that do not fit or are not finite."""
    _, weights = read_weights(path)
    model = PatchTST(config)
    try:
        model.load_state_dict(weights)
    except RuntimeError as misfit:  # torch raises it for names and shapes that do not fit
        raise CheckpointError(f"{path} holds other weights than config.json describes; {CURE} ({misfit})") from None
    if odd := [name for name, weight in weights.items() if not torch.isfinite(weight).all()]:
        raise CheckpointError(f"{path}: {odd[0]} holds values that are no numbers; train the model again")
    return model.eval()
