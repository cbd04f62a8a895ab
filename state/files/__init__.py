"""Writes files completely or not at all, also with several writers, and says in one sentence why a write failed.

Imports the standard library only and does not use the database, so every package may use it.
Never follows a link inside an outputs folder, to write or to delete; the folder itself may be a link.
"""

from fts.state.files.csv_cells import csv_cell, csv_text, from_csv_cell
from fts.state.files.folders import (
    below,
    drop_middle,
    is_file,
    link_below,
    listed,
    make_folder,
    open_log,
    private_files,
    refuse_links,
    remove,
    sync_file,
    sync_folder,
    unlock,
    write_all,
)
from fts.state.files.home import NOWHERE, expanded, home, shell_path
from fts.state.files.reasons import (
    ABSENT,
    DRAFT,
    CannotWrite,
    capacity,
    closed_folder,
    forbidden,
    naming,
    no_space,
    reason_of,
    room,
    size,
    why_unreadable,
)
from fts.state.files.writing import (
    atomic_write,
    cannot_take,
    draft_name,
    has_link,
    is_abandoned,
    new_folder,
    refusal,
    replacing,
    sweep,
    sweep_below,
    take,
)
