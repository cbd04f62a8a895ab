"""Writes docs/reference from the code and docs/cookbook.md from the examples: `python -m tests.reference`.

They are kept in git, so that a reader of the repository has them and the site is built without fts;
tests/test_reference.py fails while one of them is older than the code.
"""

from __future__ import annotations

import html
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from enum import StrEnum
from pathlib import Path

import click

from fts.jobs.actions import ACTIONS
from fts.jobs.api import protocol
from fts.jobs.cli import errors
from fts.jobs.cli.app import fts as group
from fts.jobs.cli.app import sections
from fts.jobs.notify.notifier import GAP_S, HOLD_S
from fts.jobs.settings import STALL, WorkerSettings
from fts.jobs.status.verdict import EXIT_CODES
from fts.jobs.study_file import keys as study_keys
from fts.jobs.watchdog.policy import Thresholds
from fts.jobs.watchdog.watchdog import PaceLimits
from fts.state import values
from fts.tui import keymap
from tests.reference_facts import facts_page

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
NOTE = "<!-- written by `python -m tests.reference`: change the code, not this page -->\n\n"


def pages() -> dict[str, str]:
    """Every page by its path in docs."""
    made = {
        "cookbook.md": cookbook_page(),
        "reference/commands.md": commands_page(),
        "reference/keys.md": keys_page(),
        "reference/study-toml.md": study_page(),
        "reference/facts.md": facts_page(table, code),
        "reference/events.md": events_page(),
        "reference/exit-codes.md": exit_codes_page(),
        "reference/environment.md": environment_page(),
    }
    return {name: NOTE + text.rstrip() + "\n" for name, text in made.items()}


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(titles)
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines) + "\n"


def code(text: str) -> str:
    """As code within a line, with a backtick in it too. In a table, mkdocs and forges read a bar alike only as HTML."""
    if "|" in text:
        return f"<code>{html.escape(text, quote=False).replace('|', '&#124;')}</code>"
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def plain(text: str) -> str:
    """Text of the program as Markdown: what is no code keeps its signs."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(code(part[1:-1]) if part[:1] == "`" else re.sub(r"([<*\[\]])", r"\\\1", part) for part in parts)


# -- cookbook

KINDS = {  # folder of examples -> what it is about
    "function": "A function, no library but Optuna",
    "study": "A whole study in one file",
    "command": "A command in another language",
    "sklearn": "scikit-learn",
    "torch": "PyTorch",
    "lightning": "Lightning",
    "huggingface": "Hugging Face transformers",
    "keras": "Keras",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "notebook": "A notebook that reads a study",
    "flagship": "Questions of the flagship",
}
SHARED = ("folds.py",)  # imported by its neighbours, no recipe of its own


def cookbook_page() -> str:
    """Each example with its own first lines: tests/test_examples.py runs what they say."""
    folders = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == set(KINDS), "each folder of examples has its line"
    text = (
        "# Cookbook\n\nEach recipe is a file of `examples/` in the repository. Type its commands in the top folder of "
        "a checkout; each study takes seconds to minutes on two cores. `pip install 'fts-hpo[examples]'` installs all "
        "libraries. A recipe resumes after `kill -9` where its text says so; [callbacks](STUDIES.md#libraries) has the "
        "calls.\n\nFor more than one machine, ssh, Slurm and Ray: [more than one machine](cluster.md).\n\n"
    )
    for folder, title in KINDS.items():
        text += f"## {title}\n\n"
        for path in sorted((ROOT / "examples" / folder).iterdir()):
            if path.is_file() and path.name not in SHARED and not (folder == "study" and path.suffix == ".py"):
                text += recipe(path)
    return text


def recipe(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    lines = head_of(path)
    if path.suffix == ".toml":
        said, typed = lines, [f"fts check {name}", f"fts enqueue {name}", "fts worker --until-empty"]
    else:
        begun = next(n for n, line in enumerate(lines) if re.match(r"\s*([A-Z_]+=\S+ )?(fts|cc|python) ", line))
        ended = next((n for n in range(begun, len(lines)) if not lines[n].strip()), len(lines))
        typed = [re.sub(r"^ {4}|^ {1,3}(?=\S)", "", line) for line in lines[begun:ended]]
        said = lines[:begun] + lines[ended:]
    words = " ".join(" ".join(said).split())
    return f"[{name}](../{name}): {plain(words)}\n\n```\n" + "\n".join(typed) + "\n```\n\n"


def head_of(path: Path) -> list[str]:
    """The comment at the beginning of a file, without its signs."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text.split('"""')[1].split("\n")
    if path.suffix == ".ipynb":
        return "".join(json.loads(text)["cells"][0]["source"]).split("\n")
    if path.suffix == ".c":
        return [line.strip().removeprefix("*").rstrip() for line in text.split("*/")[0].removeprefix("/*").split("\n")]
    lines = [line for line in text.split("\n") if not line.startswith("#!")]
    end = next(n for n, line in enumerate(lines) if not line.startswith("#"))
    return [line.removeprefix("#") for line in lines[:end]]


# -- commands

FORMS = {  # a command may take a function, a study's file or a command line, each with its own options
    "enqueue FILE.py:FUNCTION": ["enqueue", "train.py:objective"],
    "enqueue STUDY.toml": ["enqueue", "study.toml"],
    "enqueue -- COMMAND": ["enqueue", "--", "python", "train.py"],
    "check STUDY.toml": ["check", "study.toml"],
    "check -- COMMAND": ["check", "--", "python", "train.py"],
    "run STUDY.toml": ["run", "study.toml"],
}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command a person can type, `data build` included, in the order of the help."""
    context = click.Context(group)
    for _, entries in sections():
        for entry in entries:
            command = group.get_command(context, entry.name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from ((f"{entry.name} {inner}", each) for inner, each in command.commands.items())
            else:
                yield entry.name, command
    for title, words in FORMS.items():
        _, form, _ = group.resolve_command(context, words)
        assert form is not None
        yield title, form


def commands_page() -> str:
    # one after the other: a form of a command writes its own example
    told = {name: told_command(name, command) for name, command in commands()}
    text = (
        "# Commands\n\nEvery command takes `--db PATH` and `--help`. What a command prints is on stdout, what it says "
    )
    text += "about it on stderr. A CELL is named by its values, such as `mnist/S`, or by its job number.\n\n"
    for title, entries in sections():
        text += f"## {title}\n\n"
        for entry in entries:
            names = [name for name in told if name.split()[0] == entry.name]
            text += "".join(told[name] for name in names)
    return text


def told_command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    usage = "" if name in FORMS else " " + " ".join(command.collect_usage_pieces(context))
    rows = []
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden and option.name != "help":
            written, said = option.get_help_record(context) or ("", "")
            said, *usual = re.split(r"\s\s+\[(?:default: )?", said)  # one blank before a bracket of the text itself
            default = "; ".join(one.rstrip("]") for one in usual)
            rows.append((code(written), plain(default), plain(said)))
    example = (command.epilog or "").removeprefix("Example: ")
    text = f"### fts {name}\n\n{paragraphs(command.help or '')}"
    text += f"```\nfts {name}{usage}\n```\n\n" if usage else ""
    text += table(("option", "default", "meaning"), rows) if rows else ""
    return text + (f"Example:\n\n```\n{example}\n```\n\n" if example else "")


def paragraphs(help_text: str) -> str:
    """What the command says of itself; click shows a paragraph that begins with \\b as it stands."""
    told = [
        f"```\n{part[1:].strip()}\n```" if part.startswith("\b") else plain(part)
        for part in inspect.cleandoc(help_text).partition("\f")[0].split("\n\n")
    ]
    return "\n\n".join(told) + "\n\n"


# -- keys


def keys_page() -> str:
    """The keys of the monitor as they are without a file of the user's."""
    usual, helps = keymap.defaults(), keymap.helps()
    shown = keymap.Keymap()
    rows = []
    for name, keys in usual.items():
        command = " / ".join(code(action.cli) for action in ACTIONS if keymap.id_of(action) == name)
        pressed = " ".join(code(key) for key in shown.shown(name).split()) if keys else "—"
        rows.append((pressed, code(name), command, plain(helps[name])))
    acts = [row for row in rows if row[2]]
    looks = [row for row in rows if not row[2]]
    return (
        "# Keys of the monitor\n\n"
        "A lower-case key acts on the chosen jobs, an upper-case key on the whole machine. "
        "The name is for [a file of your own](../monitor.md#a-file-of-your-own), which gives other keys. "
        "`?` in the monitor shows the keys of the screen that you look at.\n\n"
        "## Keys that change something\n\n"
        "—: without a key; type `:` and its name.\n\n"
        + table(("key", "name", "the same as", "what it does"), acts)
        + "## Keys that look\n\n"
        + table(("key", "name", "what it does"), ((key, name, said) for key, name, _, said in looks))
    )


# -- study.toml

MEANT = DOCS / "study-toml.md"  # its rows say what a key is for; the code says what it takes


def study_page() -> str:
    text = "# Keys of study.toml\n\n"
    text += "What each key takes, as fts checks it. [study.toml](../study-toml.md) explains the tables.\n\n"
    known = {name: found for name, found in study_keys.TABLES.items() if found is not None}
    named = {"space": study_keys.PARAMETER, "metrics": study_keys.METRIC}
    for name in study_keys.TABLES:
        title = "[[cell]]" if name == "cell" else f"[{name}]"
        text += f"## {title}\n\n"
        found: Mapping[str, study_keys.TableKey] | None = known.get(name) or named.get(name)
        if found is None:
            text += OWN_NAMES[name] + "\n\n"
            continue
        text += "Each key is a name of yours; its table has:\n\n" if name in named else ""
        meant = meanings(name)
        text += table(
            ("key", "expected", "meaning"),
            ((code(key), plain(each.expected), meant.get(key, "")) for key, each in found.items()),
        )
    return text


OWN_NAMES = {
    "matrix": "Each key is an axis with a list of texts or numbers; `exclude` and `include` are lists of combinations.",
    "forbid": "Each key is a name of yours, each value an expression of parameters and axes.",
    "cell": "`where` is an expression of axes; beside it stand "
    + ", ".join(f"`{name}`" for name in study_keys.IN_A_CELL)
    + ", with the keys of these tables.",
}


def meanings(name: str) -> dict[str, str]:
    (section,) = (part for part in MEANT.read_text(encoding="utf-8").split("\n## ") if part.startswith(f"[{name}]"))
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*?) ?\|$", section, re.MULTILINE)
    return {key: re.sub(r"\]\((?!http)", "](../", meaning) for key, meaning in rows}


# -- events and states


def events_page() -> str:
    text = "# Events, states and causes\n\n"
    text += (
        "`fts events` lists the events, `fts watch` prints them as they come, and `fts events --json` has the words "
    )
    text += "below as `verb`. Epochs, beats, samples and checkpoints leave no event: their row is the record.\n\n"
    for title, kind in (
        ("Events", values.Verb),
        ("States of a job", values.JobStatus),
        ("States of a trial", values.TrialStatus),
    ):
        said = comments(kind)
        text += f"## {title}\n\n"
        text += table(("word", "meaning"), ((code(each), plain(said[each.name])) for each in kind))
    follows = "[the runbook](../runbook.md#whose-fault-was-it) says what follows"
    text += f"## Causes\n\nWhy a job or a trial ended; {follows}.\n\n"
    said = comments(values.Cause)
    rows = ((code(c), str(c.fault or "—"), plain(said[c.name])) for c in values.Cause)
    return text + table(("word", "at fault", "meaning"), rows)


def comments(kind: type[StrEnum]) -> dict[str, str]:
    """What stands behind each member in its file."""
    return dict(re.findall(r'^    ([A-Z_]+) = "[^"]*"  # (.*)$', inspect.getsource(kind), re.MULTILINE))


# -- exit codes


def exit_codes_page() -> str:
    rows = [
        (0, "The command did what was asked."),
        (errors.FAILED, "It failed: one sentence on stderr says why. `fts check`: there is a problem. `fts doctor`: "
         "something is bad. `fts data verify`: a file does not match its manifest."),
        (errors.USAGE, "The words are wrong: an unknown option, a value out of range, a study file with a mistake, a "
         "file or function that does not exist, a missing package. Nothing was written."),
        (errors.SCHEMA, "The database is of another version of fts."),
        (errors.NO_DATA, "What is named is not recorded: no such database, study, job, trial, worker, node, data "
         "set or target of messages. Nothing was written."),
        (130, "Ctrl-C. A stop at a checkpoint is no failure: `fts worker` ends with 0, `fts run` with 1, as its job is "
         "not done."),
    ]  # fmt: skip
    glance = {
        "WELL": "nothing to do",
        "LOOK": "a decision waits for you; nothing is burning",
        "ACT": "compute is being lost now",
        "IDLE": "nothing is left to run",
        "BLIND": "the data are older than 15 s, or cannot be read",
    }
    trial = [
        ("0", "Complete, if the deciding metric was reported."),
        (str(protocol.STOPPED), "A checkpoint is written: run me again. fts continues the trial under its number."),
        ("any other", "Failed, with the last lines of its output as the reason."),
    ]
    return (
        "# Exit codes\n\n## Of every command\n\n"
        + table(("code", "meaning"), ((str(number), said) for number, said in rows))
        + "With `--json` a failure is an object on stdout as well: `error`, with `code` and `message`.\n\n"
        + "## Of fts status --exit-code\n\n"
        + table(("code", "word", "meaning"), ((str(n), word, glance[word]) for word, n in EXIT_CODES.items()))
        + "## Of a command that is a trial\n\n"
        + table(("code", "meaning"), trial)
    )


# -- environment

TIMES = {
    "lease_s": "how long a job belongs to a worker that has gone silent",
    "beat_s": "how often a worker renews its leases",
    "poll_s": "how often a worker looks for orders",
    "busy_s": "how long a worker waits for the write lock before it says so and asks again",
    "checkpoint_every_s": "how often a trial may write a checkpoint; 0.001: at every step, whatever it costs",
    "outage_pause_s": "pause before the third try after the machine failed a trial twice; doubles up to a minute",
    "stuck_s": "a slot whose thread does nothing for this time, and the 120 s of a stop, is reported; it leaves a "
    "question to an installed study that has not returned for this time, if other jobs wait",
    "node_lease_s": "a node that was silent for so long is lost",
    "launch_s": "how long an agent on a named node may take to come up",
}
STALLS = {
    "stall_factor": "a trial stalls after so many of its usual steps without a report",
    "stall_min_s": "but never before",
    "stall_first_s": "before its first report: importing, loading, compiling",
    "stall_cpu_percent": "of one core: a trial that uses more, or waits for more (Linux), is at work, not stalled",
    "cpu_window_s": "over which its use of the processor is measured",
    "stall_learn_factor": 'of `stall = "learn"`: so many times the longest gap between two reports',
    "stall_learn_min_s": "and never before",
}
HEAT = {
    "warm": "°C: from here the guard says warm",
    "warning": "°C: from here the trials are stopped (SIGSTOP)",
    "critical": "°C: from here a trial writes a checkpoint and ends",
    "thaw": "°C: stopped trials go on below it",
    "cool": "°C: ended trials begin again below it",
    "unknown_patience_s": "warn when a stopped trial has had no reading for longer than this",
    "go_on_unknown": "1: go on although no thermometer answers",
}
PERSON: tuple[tuple[str, str, str], ...] = (
    ("FTS_DB", "outputs/fts.db", "the database; `--db` goes before it. All other outputs lie beside it"),
    ("FTS_DATA", "data", "the folder of data sets"),
    ("FTS_DEVICE", "cuda where its driver is, else cpu", "cpu, cuda, cuda:1 or mps; `--device` goes before it"),
    ("FTS_GPUS", "those of the machine", "GPUs for trials: `0,1`, `0=24GB,1=24GB` or `none`"),
    ("FTS_MEMORY_LIMIT", "85 % of what is available", "what one trial may use; `--memory-limit` goes before it"),
    ("FTS_SENSORS", "auto", "auto, none, or `file:PATH` with a thermometer of your own"),
    ("FTS_AWAKE", "1", "0: the machine may fall asleep while a worker runs"),
    ("FTS_NOTIFY", "~/.config/fts/notify.toml", "the file of addresses for messages"),
    ("FTS_NOTIFY_GAP_S", f"{GAP_S:g}", "seconds between two messages to one address"),
    ("FTS_NOTIFY_HOLD_S", f"{HOLD_S:g}", "seconds: what goes away sooner is not sent"),
    ("FTS_THEME", "dark", "colours of the monitor: dark, light, ansi, or a theme of Textual"),
    ("FTS_CHECKPOINT_HOME", "1GB", "with `fts worker --checkpoints`: a larger checkpoint stays there"),
    ("FTS_SCRATCH", "$TMPDIR", "on a node: the folder for files of trials"),
    ("FTS_MAX_IDLE_ATTEMPTS", str(WorkerSettings.max_idle_attempts),
     "attempts without an epoch or a checkpoint before a job is parked"),
    ("FTS_DEBUG", "", "1: an error comes with its traceback"),
)  # fmt: skip
MEMORY = (
    ("FTS_MEMORY_SOFT", "what the trial may use", "from here a trial writes a checkpoint and goes on with less memory"),
    ("FTS_MEMORY_HARD", "15 % above it", "from here a trial is ended at once"),
    ("FTS_MEMORY_AVAILABLE_LOW", "4 % of the machine, at least 512 MB", "what must stay available to other programs"),
    ("FTS_MEMORY_SWAP_GROWTH", "1 GB", "how much swap may grow while a trial runs"),
    (
        "FTS_DISK_RESERVE",
        "1 GB, of a disk below 20 GB a twentieth",
        "below it a trial stops at a checkpoint and the queue pauses; below twice it a warning",
    ),
)
TRIAL = (
    ("FTS_PARAMS", "file of all parameters and axes, as JSON"),
    ("FTS_PARAM_NAME", "one parameter, such as `FTS_PARAM_LR`"),
    ("FTS_CELL_NAME", "one axis of the cell, such as `FTS_CELL_SIZE`"),
    ("FTS_SEED", "the seed of this trial"),
    ("FTS_TRIAL", "its number"),
    ("FTS_CHECKPOINT_DIR", "a folder that survives interruptions"),
    ("FTS_FOLDER", "the folder of this trial's files"),
    ("FTS_REPORT", "the file that `fts log` and lines of JSON go to"),
    ("FTS_THREADS", "threads it may use"),
    ("FTS_SHRINK", "how often it ran out of memory: 0, 1, 2 ..."),
    ("FTS_DEVICE", "the worker's device"),
)
MESSAGE = (
    ("FTS_TITLE", "the title of the message"),
    ("FTS_BODY", "its text"),
)
OTHERS = (
    ("`NO_COLOR`", "no colours, in commands and in the monitor"),
    ("`TERM`, `COLORTERM`", "what the terminal can show; `TERM=dumb`: plain ASCII, and no monitor"),
    ("`LC_ALL`, `LC_CTYPE`, `LANG`", "`C` or `POSIX`: plain ASCII"),
    ("`TMUX`", "a text that the monitor copies goes into the buffer of tmux, too"),
    (
        "`XDG_CONFIG_HOME`",
        "else ~/.config: `fts/notify.toml`, `fts/monitor.toml`, units of systemd, completion of fish",
    ),
    ("`XDG_STATE_HOME`", "else ~/.local/state: GPUs in use, and what the monitor keeps for you, such as copied texts"),
    ("`XDG_DATA_HOME`, `BASH_COMPLETION_USER_DIR`", "where `fts completion bash` writes"),
    ("`CUDA_VISIBLE_DEVICES`", "the GPUs that a worker may give to trials, unless `FTS_GPUS` names them"),
    ("`RAY_AUTH_MODE`, `RAY_AUTH_TOKEN`, `RAY_AUTH_TOKEN_PATH`", "the token of a Ray cluster"),
    ("`SLURMD_NODENAME`, `SLURM_JOB_ID`, `PBS_JOBID`", "the name of a node and its job, set there by Slurm and PBS"),
    ("`SUDO_USER`", "`sudo fts service install --system`: the person whose worker it runs"),
    ("`INVOCATION_ID`", "set by systemd: a worker that ends waits for its last messages"),
)
EVERY_TRIAL = (
    ("`OMP_NUM_THREADS`, `MKL_NUM_THREADS`, `OPENBLAS_NUM_THREADS`, `NUMEXPR_NUM_THREADS`, `VECLIB_MAXIMUM_THREADS`",
     "the threads of its cell (`--threads`)"),
    ("`OMP_WAIT_POLICY`, `GOMP_SPINCOUNT`, `KMP_BLOCKTIME`", "threads that wait sleep, so that neighbours can work"),
    ("`CUDA_VISIBLE_DEVICES`", "with `--gpu`: the GPUs it got"),
    ("`MPLBACKEND`", "`Agg`, unless it is set: matplotlib opens no window"),
    ("`PYTHONUNBUFFERED`, `PYTHONFAULTHANDLER`", "of a command: 1, unless it is set"),
    ("`PATH`", "of a command: the folder of `fts` at its end"),
)  # fmt: skip
NO_VARIABLE = {
    "FTS_FRESH_FOLDER", "FTS_SERVED_BY",  # a placeholder in a command; between a server and its monitors
    "COMP_WORDS", "COMP_BREAKS",  # between a shell and its completion
    "FTS_STARTED_BY",  # between a worker and what its trials start
    "WANDB_MODE", "TEXTUAL_FPS",  # set for a library in a process of fts
}  # fmt: skip


def of_settings(kind: type[object], told: Mapping[str, str], prefix: str = "FTS_") -> list[tuple[str, str, str]]:
    usual = {each.name: each.default for each in fields(kind)}  # type: ignore[arg-type]  # each is a dataclass
    return [(f"{prefix}{name.upper()}", shown(usual[name]), said) for name, said in told.items()]


def shown(value: object) -> str:
    return f"{value:d}" if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def environment_page() -> str:
    assert set(STALL) == set(STALLS)
    assert {each.name for each in fields(Thresholds)} == set(HEAT)

    def listed(rows: Iterable[tuple[str, str, str]]) -> str:
        return table(
            ("variable", "default", "meaning"), ((code(name), plain(usual), said) for name, usual, said in rows)
        )

    def given(rows: Iterable[tuple[str, str]]) -> str:
        return table(("variable", "meaning"), ((code(name), said) for name, said in rows))

    return (
        "# Environment variables\n\nAn option of a command goes before its variable. A value that cannot be read is "
        "refused with one sentence before anything starts.\n\n## For you\n\n"
        + listed(PERSON)
        + "## Memory and disk\n\nIn bytes, or as `12G`.\n\n"
        + listed(MEMORY)
        + "## Heat\n\n"
        + listed(of_settings(Thresholds, HEAT, "FTS_HEAT_"))
        + "## Times of a worker\n\nIn seconds. A lease must be at least twice a beat.\n\n"
        + listed(of_settings(WorkerSettings, TIMES))
        + "## When a trial counts as stalled\n\n"
        + listed(of_settings(PaceLimits, STALLS))
        + "## Of other programs\n\nfts obeys these, too.\n\n"
        + table(("variable", "meaning"), OTHERS)
        + "## Set for every trial\n\nIn place of what the worker's shell says; `env` in study.toml goes before all "
        "but the GPUs.\n\n"
        + table(("variable", "meaning"), EVERY_TRIAL)
        + "## Set for a command that is a trial\n\n"
        + given(TRIAL)
        + "## Set for a command that sends a message\n\n"
        + given(MESSAGE)
    )


def documented() -> set[str]:
    """The names on the page; FTS_PARAM_ and FTS_CELL_ stand for a name behind them."""
    names = set(re.findall(r"^\| `(FTS_\w+)` \|", environment_page(), re.MULTILINE))
    return {name.removesuffix("NAME") for name in names}


def write() -> None:
    for name, text in pages().items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
