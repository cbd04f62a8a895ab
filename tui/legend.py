"""Explains each glyph, column and colour of the screens, for the help.

A test paints every screen and checks that each glyph and column heading has an entry here.
"""

from __future__ import annotations

from fts.frozen import dataclass
from fts.tui.data.view import CURVES, EVENTS, HARDWARE, LOGS, QUEUE, RESULTS, SCREENS, TRIALS

EVERYWHERE = tuple(range(len(SCREENS)))
# Panes that show a part of another screen; their keys, columns and glyphs are those of that screen.
SUBJECTS = {"curve": CURVES, "hardware": HARDWARE, "events": EVENTS, "results": RESULTS, "trials": TRIALS, "log": LOGS}


@dataclass(frozen=True)
class Sign:
    """Glyphs with their meaning on some screens."""

    glyphs: str
    name: str
    text: str
    screens: tuple[int, ...] = EVERYWHERE


SIGNS: tuple[Sign, ...] = (
    Sign(
        "►", "cursor", "First column: the row that keys act on; the whole row has another background or is inverse.",
        (QUEUE, TRIALS, RESULTS, EVENTS),
    ),
    Sign("•", "marked", "A row that Space or v has marked; keys act on all marked rows.", (QUEUE, TRIALS, EVENTS)),
    Sign("►", "running", "The job or trial runs now.", (QUEUE, TRIALS, CURVES, RESULTS)),
    Sign("◌", "waiting", "The cell waits for a free slot.", (QUEUE, CURVES, RESULTS)),
    Sign("‖", "paused", "A person has paused it; it starts again with resume.", (QUEUE, CURVES, RESULTS)),
    Sign("✓", "done", "Ended with a result; of a trial: complete.", (QUEUE, TRIALS, CURVES, RESULTS)),
    Sign("✗", "failed", "Ended with an error; the row or its log says which.", (QUEUE, TRIALS, CURVES, RESULTS)),
    Sign("⊗", "cancelled", "Taken out of the queue; its results are kept.", (QUEUE, CURVES, RESULTS)),
    Sign("?", "lost", "Its worker is silent; another worker takes it over after the time shown there.",
         (QUEUE, TRIALS, CURVES, RESULTS)),
    Sign("⊘", "pruned", "Ended early, because it was worse than earlier trials at the same step.", (QUEUE, TRIALS)),
    Sign("↻", "interrupted", "Stopped in the middle; it continues from its checkpoint.", (QUEUE, TRIALS)),
    Sign("★", "best", "Best cell of its study (PatchTST: of its task and horizon), or best trial of its cell.",
         (QUEUE, TRIALS, RESULTS)),
    Sign("█▏▎▍▌▋▊▉·", "bar", "Share of the trials that have ended; each █ is a tenth, · is still to do.", (QUEUE,)),
    Sign("▁▂▃▄▅▆▇", "small curve", "The values of the running trial so far, lowest to highest.", (QUEUE,)),
    Sign("░▒▓█", "shade", "Where the value lies between the worst (░) and the best (█) of the table.",
         (QUEUE, RESULTS)),
    Sign("▁█", "small bars", "Best value at each size, lowest to highest.", (QUEUE, RESULTS)),
    Sign("⣀⡠⠔⠉", "curve", "The value by step, drawn in dots; steps that were not reported are left blank.",
         (QUEUE, CURVES)),
    Sign("●", "now", "The selected trial: its latest value.", (QUEUE, CURVES)),
    Sign("·", "one trial", "Without steps: the value of each trial; the line is the best so far.", (QUEUE, CURVES)),
    Sign("●", "on the front", "Chart of two goals: no other trial is better in both.", (RESULTS,)),
    Sign("·", "beaten", "Chart of two goals: another trial is better in both.", (RESULTS,)),
    Sign("✗", "violates", "Chart of two goals: the trial misses a constraint.", (RESULTS,)),
    Sign("★●·", "by parameter", "Charts by parameter: the best trial, a complete one, a pruned one.", (RESULTS,)),
    Sign("╌", "best trial", "The curve of the best trial of this cell.", (QUEUE, CURVES)),
    Sign("┈", "median", "The median of the other trials at the same step.", (QUEUE, CURVES)),
    Sign("░", "middle half", "Where half of the other trials lie at the same step.", (QUEUE, CURVES)),
    Sign("▁", "prune line", "A trial that is worse than this at its next report is pruned.", (QUEUE, CURVES)),
    Sign("█", "scrollbar", "At the right edge: which part of all rows is in sight; drag it, or click above or below.",
         (QUEUE, TRIALS, LOGS, EVENTS)),
    Sign("█▏▎▍▌▋▊▉·", "meter", "The share that is used now; · is free.", (QUEUE, HARDWARE)),
    Sign("▁▂▃▄▅▆▇█", "history", "The same number over the hours before, oldest at the left.", (QUEUE, HARDWARE)),
    Sign("┊", "soft limit", "Memory: the trial halves its batch. Temperature: resume or pause, as the words say.",
         (QUEUE, HARDWARE)),
    Sign("┃", "hard limit", "The trial is ended here, before the system ends it.", (QUEUE, HARDWARE)),
    Sign("⣀⡠⠔⠉", "line", "The measured number over time; where nothing was measured the line is broken.",
         (QUEUE, HARDWARE)),
    Sign("▁", "limit line", "In a chart of hardware: the limit that its title names.", (QUEUE, HARDWARE)),
    Sign("u", "undo", "Second column: u takes this change back.", (EVENTS,)),
    Sign("↻", "undone", "Second column: this change was taken back.", (EVENTS,)),
    Sign("·", "not drawn", "This trial did not draw the parameter: another branch of the search space.", (TRIALS,)),
    Sign("+", "so far", "After a time: the trial still runs.", (TRIALS,)),
    Sign("▕█·‖✗↻►▏", "strip", "The time you were away, oldest at the left: █ a trial ran, · idle, ‖ the guard paused "
         "it, ✗ failed, ↻ restarted, ► now."),
    Sign("─━│┤└┬", "frame", "Edges of panes and axes of charts; the focused pane has the heavy edge."),
    Sign("—", "none", "There is no such value."),
    Sign("…", "cut", "The text goes on; Enter, z or a wider terminal shows it whole. Between numbers: from … to."),
    Sign("±", "plus or minus", "Half of the interval in which the end lies in 4 of 5 cases."),
    Sign("°", "degrees", "Celsius."),
    Sign("↓↑", "arrow", "After a metric: lower (↓) or higher (↑) is better. After by COLUMN: the order of the rows."),
    Sign("↵", "Enter", "The key Enter."),
    Sign("–", "range", "From one time to another."),
    Sign("×", "times", "Rows times columns, or windows times steps."),
)  # fmt: skip


@dataclass(frozen=True)
class Heading:
    """A column heading, as the table writes it, with its meaning."""

    head: str
    text: str
    screens: tuple[int, ...]


COLUMNS: tuple[Heading, ...] = (
    Heading("#", "Place in the order in which cells run.", (QUEUE,)),
    Heading("cell", "The values of the study's axes, such as 2M/h1.", (QUEUE,)),
    Heading("state", "What the cell or trial does: a word beside its glyph.", (QUEUE, TRIALS)),
    Heading("trials", "Ended trials of those that were requested.", (QUEUE,)),
    Heading("best AUC, best", "The best value so far of the metric in the heading.", (QUEUE,)),
    Heading("eta", "Time until it is expected to end; — means not known yet.", (QUEUE,)),
    Heading("now / why", "What it does now, or why it does not run.", (QUEUE,)),
    Heading("done by", "When it is expected to end, or when it ended.", (QUEUE,)),
    Heading("samples/s", "Speed of the running trial.", (QUEUE,)),
    Heading("t", "Number of the trial.", (TRIALS,)),
    Heading("AUC, value", "The trial's value: of its best step, on validation data.", (TRIALS,)),
    Heading("ep, step", "Steps that it has reported.", (TRIALS,)),
    Heading("time", "How long it ran; 12m+ still runs.", (TRIALS,)),
    Heading("lr, dropout, wd, warm", "Drawn parameters: learning rate, dropout, weight decay, steps of warm-up; of "
            "other studies by their own names.", (TRIALS,)),
    Heading("architecture", "Width d, layers L, heads h, feed-forward ff.", (TRIALS,)),
    Heading("64x4", "Batch: 64 windows at once, 4 times before a step of the optimizer.", (TRIALS, HARDWARE, LOGS)),
    Heading("base +0.01?", "Difference to the best baseline; ? means that its 95 % interval includes 0.",
            (QUEUE, RESULTS)),
    Heading("10★", "Number of ended trials, and the glyph of the cell's state.", (RESULTS,)),
    Heading("importance", "Share of the trials' order that each parameter explains alone.", (TRIALS, RESULTS)),
    Heading("chance, a random number", "The share that a parameter without any effect may have by chance.",
            (TRIALS, RESULTS)),
    Heading("front", "How many trials no other beats in every goal.", (QUEUE,)),
    Heading("when", "Time of the event.", (EVENTS,)),
    Heading("who", "The person or worker that caused it.", (EVENTS,)),
    Heading("what", "Kind of event.", (EVENTS,)),
    Heading("message", "What happened, in words.", (EVENTS,)),
    Heading("chance to win", "Of the earlier trials that came this far, those that gained enough to beat the best.",
            (QUEUE, CURVES)),
)  # fmt: skip

# Field of the palette: (name of the colour, what has it). No information is shown by a colour alone.
COLOURS: dict[str, tuple[str, str]] = {
    "running": ("blue", "runs now; keys; title of the focused pane"),
    "done": ("green", "done, complete; WELL"),
    "failed": ("orange red", "failed; ACT; the line below which a trial is pruned"),
    "warn": ("amber", "interrupted, lost, retried; LOOK; stale data; limits"),
    "paused": ("pink", "paused; BLIND; a replay"),
    "best": ("yellow", "best values; marked rows; matches of a search"),
    "dim": ("grey", "waiting, pruned, cancelled; headings, axes and notes"),
    "text": ("text", "everything else"),
    "cursor": ("background", "the row under the cursor"),
}


def signs_of(screen: int) -> list[Sign]:
    return [sign for sign in SIGNS if screen in sign.screens]


def columns_of(screen: int) -> list[Heading]:
    return [column for column in COLUMNS if screen in column.screens]
