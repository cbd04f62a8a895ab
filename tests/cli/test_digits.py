"""A number of thousands of digits is a mistake like any other, wherever a number is typed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fts.jobs.devices import BadSetting
from fts.jobs.notify import targets
from fts.tui import settings
from fts.tui.settings import BadSettings
from tests.cli.study import Said

DIGITS = "1" * 5000  # Python refuses to convert more than 4,300

TYPED = (
    ("enqueue", "train.py:objective", "-m", f"size={DIGITS}"),
    ("enqueue", "train.py:objective", "--space", f"x=0:{DIGITS}"),
    ("enqueue", "train.py:objective", "--warm-start", f"x={DIGITS}"),
    ("enqueue", "train.py:objective", "--trials", DIGITS),
    ("enqueue", "train.py:objective", "--seed", DIGITS),
    ("enqueue", "train.py:objective", "--memory", f"{DIGITS}GB"),
    ("enqueue", "train.py:objective", "--stall", f"{DIGITS}m"),
    ("enqueue", "train.py:objective", "--gpu", DIGITS),
    ("enqueue", "train.py:objective", "--constraint", f"x<={DIGITS}"),
    ("enqueue", "--metric", "loss", "--", "echo", f"{{x:0..{DIGITS}}}"),
    ("enqueue", "numbers.toml"),
    ("enqueue", "plain.toml", "--set", f"budget.trials={DIGITS}"),
    ("enqueue", "plain.toml", "--set", f"budget.timeout={DIGITS}h"),
    ("worker", "--slots", DIGITS),
    ("worker", "--memory-limit", f"{DIGITS}GB"),
    ("trials", DIGITS),
    ("trials", "1", "--top", DIGITS),
    ("curve", f"1:t{DIGITS}"),
    ("events", "--since", f"{DIGITS}h"),
    ("events", "-n", DIGITS),
    ("status", "--at", DIGITS),
    ("pause", f"{DIGITS}-{DIGITS}"),
    ("drain", DIGITS),
    ("watch", "--every", DIGITS),
    ("metrics", "--port", DIGITS),
)


@pytest.mark.parametrize("words", TYPED, ids=lambda words: " ".join(word[:24] for word in words))
def test_thousands_of_digits_are_refused_in_a_sentence(
    fts: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    (tmp_path / "train.py").write_text("def objective(trial, size=1):\n    return trial.suggest_float('x', 0, 1)\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numbers.toml").write_text(f'[study]\nobjective = "train:objective"\n[matrix]\nsize = [1, {DIGITS}]\n')
    (tmp_path / "plain.toml").write_text('[study]\nobjective = "train:objective"\n')
    fts("enqueue", "train.py:objective", "--trials", "1")
    said = fts(*words)
    assert "fault in fts" not in said.err and "Traceback" not in said.err
    assert (said.code in (2, 6) and said.err.startswith("fts: ")) or words[0] in ("events", "status"), said.err[:300]


def test_files_of_the_user_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="more than 4,300 digits"):
        settings.parsed(f"columns = {DIGITS}", "monitor.toml")
    file = tmp_path / "notify.toml"
    file.write_text(f"quiet = {DIGITS}")
    file.chmod(0o600)
    with pytest.raises(BadSetting, match=r"notify.toml is no TOML"):
        targets.read(file)
