"""Writes trials as event files of TensorBoard: one folder per trial, with its curves, its parameters and its facts.

A file is a pure function of the trial's rows, and that of a live trial a beginning of what it will be: what is new is
appended, also behind a record that a killed process left half written. A file that is no such beginning is replaced.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.installing import installing
from fts.jobs.mirrors.follow import CannotMirror, no_library
from fts.jobs.mirrors.runs import FINAL, md5
from fts.state.files import atomic_write, make_folder, open_log, remove, sweep
from fts.state.values import TrialStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.mirrors.runs import Cell, Run

FILE = "events.out.tfevents.fts"
MARK = "fts-mirror.json"
EXACT = 2**53  # a larger whole number would lose digits as a double
SESSION = "_hparams_/session_start_info"
SESSION_END = "_hparams_/session_end_info"


class TensorBoard:
    """A folder for `tensorboard --logdir`: STUDY/CELL/t0003."""

    def __init__(self, folder: Path) -> None:
        try:
            import tensorboard.compat.proto.event_pb2  # noqa: F401
        except ImportError as missing:
            cure = f"`{installing('tensorboard')}` installs what writes event files"
            raise no_library(missing, "tensorboard", cure) from missing
        self.folder = folder

    def begin(self, cells: Sequence[Cell]) -> None:
        for name, born in {cell.study: cell.born for cell in cells}.items():
            claim(self.folder / name, born)

    def put(self, run: Run) -> bool:
        if not (run.points or run.has_ended):
            return False  # its parameters may not be complete yet
        return write(self._folder_of(run.cell) / run.name / FILE, content(run))

    def keep(self, cell: Cell, numbers: set[int]) -> int:
        wanted = {f"t{number:04d}" for number in numbers}
        strange = [path for path in self._folder_of(cell).glob(f"t*/{FILE}") if path.parent.name not in wanted]
        for path in strange:
            remove(path, self.folder)
            if not any(path.parent.iterdir()):
                remove(path.parent, self.folder)
        return len(strange)

    def close(self) -> None:
        """Nothing stays open."""

    def _folder_of(self, cell: Cell) -> Path:
        return self.folder / cell.study / cell.name


def claim(folder: Path, born: float) -> None:
    """Makes the folder of a study this study's. Raises CannotMirror for one that something else is in."""
    mark = folder / MARK
    sweep(folder)  # a draft of the mark, of one that was killed
    try:
        found = json.loads(mark.read_text())
    except FileNotFoundError:
        if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise CannotMirror(
                f"{folder} holds files that are no mirror of fts: choose another folder, or move them away"
            ) from None
        make_folder(folder)
        atomic_write(mark, json.dumps({"study": folder.name, "born": born}) + "\n")
        return
    except (OSError, ValueError) as error:
        raise CannotMirror(f"{mark} cannot be read ({error}): remove it if {folder} is a mirror of fts") from error
    if not isinstance(found, dict) or found.get("born") != born:
        raise CannotMirror(f"{folder} is the mirror of another study of this name: choose another folder, or remove it")


def write(path: Path, wanted: bytes) -> bool:
    """Makes the file hold just this, by appending: TensorBoard would read a draft beside it, too.

    Whether anything was written.
    """
    try:
        there = path.read_bytes()
    except FileNotFoundError:
        there = b""
    if there == wanted:
        return False
    if not wanted.startswith(there):
        path.unlink()
        there = b""
    handle = open_log(path)
    with os.fdopen(handle, "ab") as file:
        file.write(wanted[len(there) :])
    return True


# ---------------------------------------------------------------- one file


def content(run: Run) -> bytes:
    """The whole event file of a run."""
    from tensorboard.summary.writer.record_writer import RecordWriter  # here: with the library alone

    out = io.BytesIO()
    writer = RecordWriter(out)
    for event in events(run):
        writer.write(event.SerializeToString(deterministic=True))
    return out.getvalue()


def events(run: Run) -> list[Any]:
    from tensorboard.compat.proto.event_pb2 import Event

    made = [Event(wall_time=run.started_at, file_version="brain.Event:2"), _session_start(run)]
    made += [Event(wall_time=point.at, step=point.step, summary=scalars(point.values)) for point in run.points]
    if run.has_ended:
        at = run.ended_at or run.started_at
        results = {f"{FINAL}/{name}": value for name, value in run.results.items()}
        if results:
            made.append(Event(wall_time=at, step=run.last_step, summary=scalars(results)))
        made.append(Event(wall_time=at, step=run.last_step, summary=_table(run)))
        made.append(_session_end(run, at))
    return made


def scalars(values: dict[str, float]) -> Any:
    """With the seven digits of a float: the server of TensorBoard shows no scalars of doubles."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])


def _table(run: Run) -> Any:
    """State, cause, facts and attempts, for the page TEXT."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    rows = [f"| {cell_of(name)} | {cell_of(value)} |" for name, value in run.notes.items()]
    text = "\n".join(["| | |", "|---|---|", *rows])
    return Summary(
        value=[
            Summary.Value(
                tag="trial",
                metadata=SummaryMetadata(
                    plugin_data=SummaryMetadata.PluginData(plugin_name="text"),
                    data_class=2,  # tensor
                ),
                tensor=TensorProto(
                    dtype=DT_STRING,
                    tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
                    string_val=[text.encode(errors="replace")],
                ),
            )
        ]
    )


def cell_of(text: str) -> str:
    """As one cell of a table in Markdown."""
    return " ".join(text.split())[:2000].replace("|", "\\|")


def _session_start(run: Run) -> Any:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    started = SessionStartInfo(
        model_uri="", group_name=md5([run.cell.study, run.cell.name, run.number]), start_time_secs=run.started_at
    )
    for name, value in run.params.items():
        if isinstance(value, bool):
            started.hparams[name].bool_value = value
        elif isinstance(value, float) or (isinstance(value, int) and abs(value) <= EXACT):
            started.hparams[name].number_value = value
        else:
            started.hparams[name].string_value = value if isinstance(value, str) else json.dumps(value)
    return _event_of_hparams(run.started_at, SESSION, HParamsPluginData(version=0, session_start_info=started))


def _session_end(run: Run, at: float) -> Any:
    """A pruned trial has no word of its own there: its state is on the page TEXT."""
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS, STATUS_UNKNOWN
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    how = {TrialStatus.COMPLETE: STATUS_SUCCESS, TrialStatus.FAILED: STATUS_FAILURE}.get(run.status, STATUS_UNKNOWN)
    ended = SessionEndInfo(status=how, end_time_secs=at)
    return _event_of_hparams(at, SESSION_END, HParamsPluginData(version=0, session_end_info=ended))


def _event_of_hparams(at: float, tag: str, told: Any) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_FLOAT

    kind = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(
            plugin_name="hparams", content=told.SerializeToString(deterministic=True)
        ),
        data_class=2,
    )
    nothing = TensorProto(dtype=DT_FLOAT, tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=0)]))
    return Event(wall_time=at, summary=Summary(value=[Summary.Value(tag=tag, metadata=kind, tensor=nothing)]))
