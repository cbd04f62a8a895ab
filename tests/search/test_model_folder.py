"""A model folder from elsewhere is refused in one sentence, without crash, memory or delay, whatever it holds."""

from __future__ import annotations

import copy
import json
import random
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fts.features import tiers
from fts.jobs.cli import main
from fts.model.architecture import NORMS, Architecture, ModelConfig
from fts.model.patchtst import PatchTST
from fts.study.model_card import card
from fts.study.model_folder import FORMAT, NoModel, load_model, md5_of_config
from fts.study.predict import WrongBars, predict_bars
from fts.training.checkpoint import CheckpointError, file_md5, write_weights
from tests.data.made import make_bars

SECONDS, MB = 10.0, 1000
FEATURES = tuple(tiers.TIERS["a20"])
BARS = make_bars(260, 3)
REFUSALS = (NoModel, CheckpointError, WrongBars)
# what a field may be instead
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 10**6, 10**12, 10**18, 10**400, -(10**400), 1e308, -1e308, 1e-320, float("nan"),
    float("inf"), "", "x", "80", "\x00\x1b[31m", "ÿ" * 5000, [], {}, [1], {"a": 1}, [[]] * 50, "0" * 32,
    "d32768-L999-h4-ff131072", "d999999-L999999-h1-ff999999", "d1-L999999-h1-ff1", "d16-L0-h1-ff1", "c", "revin",
)  # fmt: skip


def make_model(folder: Path, norm: str = "revin") -> Path:
    """A sound model folder of the smallest model, untrained."""
    levels = tiers.levels_of("a20") if norm.startswith("partial") else ()
    config = ModelConfig(Architecture(16, 1, 2, 32), len(FEATURES), context=20, norm=norm, levels=levels)
    model = PatchTST(config)
    folder.mkdir(parents=True)
    write_weights(folder / "model.safetensors", dict(model.named_parameters()), {"model": config.to_json()})
    scaler = [{"feature": name, "mean": 1.5, "sd": 2.0} for name in FEATURES]
    (folder / "scaler.json").write_text(json.dumps(scaler))
    sign(folder, {
        "format": FORMAT, "model": config.to_json(), "features": list(FEATURES), "task": "threshold_1pct", "horizon": 1,
        "tier": "a20", "context": 20, "params": {}, "cell": {"code_commit": "abc"}, "origin": {"job": 1, "trial": 0},
    })  # fmt: skip
    return folder


def sign(folder: Path, config: Any) -> None:
    """Writes config.json with every checksum right: whoever means harm would do so."""
    if isinstance(config, dict):
        md5s = {"weights_md5": file_md5(folder / "model.safetensors"), "scaler_md5": file_md5(folder / "scaler.json")}
        config |= {name: md5 for name, md5 in md5s.items() if name not in config or isinstance(config[name], str)}
        config["config_md5"] = md5_of_config(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "sound")


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "model")
    return tmp_path / "model"


def answer(folder: Path) -> str:
    """What came of asking the model: `ok`, or the sentence that refuses it; nothing else, fast and within memory."""
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        table = predict_bars(load_model(folder), BARS).table
        said = "ok"
        assert len(table) and table["p"].between(0, 1).all()
    except REFUSALS as refused:
        said = " ".join(str(refused).split())
        assert 10 < len(said) < 1500, said[:200]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert time.process_time() - began < SECONDS and grown < MB * 1000, (said, grown)
    return said


def test_the_model_of_these_tests_is_sound(folder: Path):
    assert answer(folder) == "ok"


@pytest.mark.parametrize("norm", NORMS)
def test_a_model_of_every_norm_predicts_and_its_card_says_what_it_does_to_a_window(tmp_path: Path, norm: str):
    folder = make_model(tmp_path / "model", norm)
    assert answer(folder) == "ok"
    config = json.loads((folder / "config.json").read_text())
    trained = {"label": "x", "dataset": "x", "data_md5": "x", "windows": 1, "first_day": "x", "last_day": "x",
               "base_rate": 0.5, "label_md5": "x"}  # fmt: skip
    more = {"trained_on": trained, "n_params": 1, "epochs": 1, "steps": 1, "seed": 0, "torch_version": "x",
            "threads": 1, "cell": {"experiment": "x"}}  # fmt: skip
    told = card(config | more, None)
    assert f"norm {norm}: " in told
    assert ("windows are read as they are" in told) == (norm == "none")
    assert ("14 of 20 features, those in units of price or volume" in told) == norm.startswith("partial")
    assert ("a token of their own" in told) == norm.endswith("+stats")


def test_other_levels_than_the_weights_were_trained_with_are_refused(tmp_path: Path):
    folder = make_model(tmp_path / "model", "partial")
    config = json.loads((folder / "config.json").read_text())
    config["model"]["levels"] = [0, 1]
    sign(folder, config)
    assert "the weights are of a model with" in answer(folder)


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON value, the value itself first."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places_in(item, (*path, key))
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    made = copy.copy(value)
    made[path[0]] = changed(value[path[0]], path[1:], new)
    return made


def spoil_config(folder: Path, chance: random.Random) -> str:
    """One value of config.json is another, and every checksum fits."""
    config = json.loads((folder / "config.json").read_text())
    path, new = chance.choice(places_in(config)[1:]), chance.choice(HOSTILE)
    sign(folder, changed(config, path, new))
    return f"config {path} = {new!r:.60}"


def spoil_scaler(folder: Path, chance: random.Random) -> str:
    scaler = json.loads((folder / "scaler.json").read_text())
    path, new = chance.choice(places_in(scaler)), chance.choice(HOSTILE)
    (folder / "scaler.json").write_text(json.dumps(changed(scaler, path, new)))
    sign(folder, json.loads((folder / "config.json").read_text()))
    return f"scaler {path} = {new!r:.60}"


def spoil_both(folder: Path, chance: random.Random) -> str:
    """The shape in config.json and in the weights' own header agree on something else."""
    config = json.loads((folder / "config.json").read_text())
    name, new = chance.choice(list(config["model"])), chance.choice(HOSTILE)
    config["model"][name] = new
    if name == "context":
        config["context"] = new
    rewrite_header(folder, lambda header: with_facts(header, config["model"]))
    sign(folder, config)
    return f"both {name} = {new!r:.60}"


def spoil_header(folder: Path, chance: random.Random) -> str:
    """One value of the header is another, with or without weights behind it that fit."""
    told = ""

    def spoil(header: dict[str, Any]) -> Any:
        nonlocal told
        path, new = chance.choice(places_in(header)), chance.choice(HOSTILE)
        told = f"header {path} = {new!r:.60}"
        return changed(header, path, new)

    rewrite_header(folder, spoil)
    sign(folder, json.loads((folder / "config.json").read_text()))
    return told


def spoil_bytes(folder: Path, chance: random.Random) -> str:
    """Some bytes of a file are others, or the file is cut off."""
    path = folder / chance.choice(["config.json", "scaler.json", "model.safetensors"])
    whole = bytearray(path.read_bytes())
    for _ in range(chance.randrange(1, 6)):
        whole[chance.randrange(len(whole))] = chance.randrange(256)
    path.write_bytes(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
    if path.name != "config.json":
        sign(folder, json.loads((folder / "config.json").read_text()))
    return f"bytes of {path.name}"


def rewrite_header(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.dumps(change(json.loads(whole[8 : 8 + length]))).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + whole[8 + length :])


def with_facts(header: dict[str, Any], model: Any) -> dict[str, Any]:
    return header | {"__metadata__": {"fts": json.dumps({"model": model})}}


SPOILERS = (spoil_config, spoil_scaler, spoil_both, spoil_header, spoil_bytes)


def storm(folder: Path, tmp_path: Path, seeds: range) -> dict[str, int]:
    said: dict[str, int] = {}
    for seed in seeds:
        chance = random.Random(seed)
        victim = tmp_path / "victim"
        shutil.copytree(folder, victim)
        what = chance.choice(SPOILERS)(victim, chance)
        try:
            found = answer(victim)
        except Exception as crash:
            raise AssertionError(f"seed {seed}, {what}: {type(crash).__name__}: {crash!s:.300}") from crash
        kind = "ok" if found == "ok" else "refused"
        said[kind] = said.get(kind, 0) + 1
        shutil.rmtree(victim)
    return said


def test_two_hundred_spoiled_models_are_used_or_refused_in_one_sentence(folder: Path, tmp_path: Path):
    said = storm(folder, tmp_path, range(200))
    assert said["refused"] > 100


@pytest.mark.slow
def test_two_thousand_spoiled_models_are_used_or_refused_in_one_sentence(folder: Path, tmp_path: Path):
    said = storm(folder, tmp_path, range(1000, 3000))
    assert said["refused"] > 1000


@pytest.mark.parametrize(
    "architecture", ["d32768-L999-h4-ff131072", "d1-L999999-h1-ff1", "d999999-L1-h1-ff999999", "d16-L2-h2-ff32"]
)
def test_a_shape_that_the_file_does_not_hold_is_refused_before_it_is_built(folder: Path, architecture: str):
    config = json.loads((folder / "config.json").read_text())
    config["model"]["architecture"] = architecture
    rewrite_header(folder, lambda header: with_facts(header, config["model"]))
    sign(folder, config)
    assert "other weights than config.json describes" in (said := answer(folder)) or "parameters, expected" in said


@pytest.mark.parametrize("context", [10**12, 5000, 10**6, 1, 25])
def test_a_window_that_the_file_or_memory_does_not_hold_is_refused(folder: Path, context: int):
    config = json.loads((folder / "config.json").read_text())
    config["model"] |= {"context": context, "patch": 1, "stride": 1}
    config["context"] = context
    rewrite_header(folder, lambda header: with_facts(header, config["model"]))
    sign(folder, config)
    assert answer(folder) != "ok"


@pytest.mark.parametrize("name", ["config.json", "scaler.json"])
@pytest.mark.parametrize("text", ["[" * 10**6, '{"a":' * 10**5, "1" * 5000, "[1e400]", "", "null", " " * (5 << 20)])
def test_text_that_is_no_model_is_refused(folder: Path, name: str, text: str):
    (folder / name).write_text(text)
    assert name in answer(folder)


def test_a_refusal_is_one_sentence_and_no_fault_of_ours(folder: Path, tmp_path: Path, capsys):
    BARS.to_csv(tmp_path / "bars.csv")
    (folder / "config.json").write_text("[" * 10**6)
    assert main(["predict", str(folder), str(tmp_path / "bars.csv")]) == 6
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "fault" not in said.err
