"""Writes trials as TensorBoard event files: one folder per trial, with its curves, parameters and facts.

A file is a pure function of the trial's rows, and the file of a live trial is a prefix of the final one. So new data is
appended, also after a record that a killed process left incomplete. A file that is not such a prefix is replaced.
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

    from fts.jobs.mirrors.runs import MirroredCell, Run

FILE = "events.out.tfevents.fts"
MARK = "fts-mirror.json"
OWN = "tensorboard"
EXACT = 2**53  # a larger integer would lose digits as a double
SESSION = "_hparams_/session_start_info"
SESSION_END = "_hparams_/session_end_info"


class TensorBoard:
    """A folder for `tensorboard --logdir`: STUDY/CELL/t0003."""

    def __init__(self, folder: Path) -> None:
        try:
            import tensorboard.compat.proto.event_pb2  # noqa: F401
        except ImportError as missing:
            cure = f"`{installing('tensorboard')}` installs the library for event files"
            raise no_library(missing, "tensorboard", cure) from missing
        self.folder = folder

    def begin(self, cells: Sequence[MirroredCell]) -> None:
        refuse_other_files(self.folder)
        for name, born in {cell.study: cell.born for cell in cells}.items():
            claim(self.folder / name, born)

    def put(self, run: Run) -> bool:
        if not (run.points or run.has_ended):
            return False  # its parameters may be incomplete
        return write(self._folder_of(run.cell) / run.name / FILE, content(run))

    def keep(self, cell: MirroredCell, numbers: set[int]) -> int:
        wanted = {f"t{number:04d}" for number in numbers}
        strange = [path for path in self._folder_of(cell).glob(f"t*/{FILE}") if path.parent.name not in wanted]
        for path in strange:
            remove(path, self.folder)
            if not any(path.parent.iterdir()):
                remove(path.parent, self.folder)
        return len(strange)

    def forget(self) -> None:
        """Does nothing: each pass reads the files."""

    def close(self) -> None:
        """Does nothing: no file stays open."""

    def _folder_of(self, cell: MirroredCell) -> Path:
        return self.folder / cell.study / cell.name


def refuse_other_files(folder: Path) -> None:
    """Raises CannotMirror if files lie in the folder that TensorBoard does not read, unless a mirror is in it.

    TensorBoard would search all of it for event files, and the folders of the studies would lie among the files.
    """
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    if any((path / MARK).exists() for path in there):
        return
    other = next((path.name for path in there if path.is_file() and not is_known(path.name)), None)
    if other is not None:
        raise CannotMirror(
            f"{folder} holds other files, such as {other}: name a folder of its own, such as {folder / OWN}"
        )


def is_known(name: str) -> bool:
    return name.startswith(".") or "tfevents" in name


def claim(folder: Path, born: float) -> None:
    """Marks a folder as the mirror of this study. Raises CannotMirror if it holds anything else."""
    mark = folder / MARK
    sweep(folder)  # temporary files of a killed process
    try:
        found = json.loads(mark.read_text())
    except FileNotFoundError:
        if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise CannotMirror(
                f"{folder} holds files that are not a mirror of fts: choose another folder, or move them away"
            ) from None
        make_folder(folder)
        atomic_write(mark, json.dumps({"study": folder.name, "born": born}) + "\n")
        return
    except (OSError, ValueError) as error:
        raise CannotMirror(f"{mark} cannot be read ({error}): remove it if {folder} is a mirror of fts") from error
    if not isinstance(found, dict) or found.get("born") != born:
        raise CannotMirror(f"{folder} is the mirror of another study of this name: choose another folder, or remove it")


def write(path: Path, wanted: bytes) -> bool:
    """Writes the content by appending, because TensorBoard would also read a temporary file next to it.

    Returns whether anything was written.
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
    """Returns the complete event file of a run."""
    from tensorboard.summary.writer.record_writer import RecordWriter  # here: only if the library is installed

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
    """Returns scalars with the seven digits of a float, because TensorBoard's server shows no doubles."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])


def _table(run: Run) -> Any:
    """Returns status, cause, facts and attempts for the page TEXT."""
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
    """Returns a text as one cell of a Markdown table."""
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
    """Returns the end of a session. TensorBoard has no status for a pruned trial; the page TEXT shows it."""
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS, STATUS_UNKNOWN
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    how = {TrialStatus.COMPLETE: STATUS_SUCCESS, TrialStatus.FAILED: STATUS_FAILURE}.get(run.status, STATUS_UNKNOWN)
    ended = SessionEndInfo(status=how, end_time_secs=at)
    return _event_of_hparams(at, SESSION_END, HParamsPluginData(version=0, session_end_info=ended))


def _event_of_hparams(at: float, tag: str, data: Any) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_FLOAT

    kind = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(
            plugin_name="hparams", content=data.SerializeToString(deterministic=True)
        ),
        data_class=2,
    )
    nothing = TensorProto(dtype=DT_FLOAT, tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=0)]))
    return Event(wall_time=at, summary=Summary(value=[Summary.Value(tag=tag, metadata=kind, tensor=nothing)]))
