"""Answers the questions of the study, each with its certainty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fts.analysis.findings import NAMED_SIZE, Conclusion
from fts.analysis.horizon import listed
from fts.analysis.scaling import FEWEST_SIZES

if TYPE_CHECKING:
    from fts.analysis.summarise import CellSummary, Group
    from fts.analysis.walked import WalkComparison, Walked
    from fts.scores.intervals import Difference, Interval


@dataclass(frozen=True)
class Answer:
    """One of the questions of the study."""

    question: str
    answer: str  # yes | no | not at 2M | perhaps not | cannot say ...
    sentence: str

    @property
    def tone(self) -> str:
        """Returns yes | no | open, which decides the colour on a page."""
        if self.answer.startswith("not at"):
            return "no"
        return self.answer if self.answer in ("yes", "no") else "open"


def answers(
    groups: tuple[Group, ...], found: tuple[Conclusion, ...], walks: tuple[Walked, ...] = ()
) -> tuple[Answer, ...]:
    """Answers: better than a volatility forecast, than the best baseline? better with size? one search for all h?

    The first two use walk-forward, if winners have walk-forward trainings. While `found` has an error, no answer is yes
    or no: the sentence says what the numbers would say.
    """
    given = [
        answer if len(groups) == 1 else replace(answer, question=f"{answer.question} ({group.task} on {group.tier})")
        for group in groups
        for answer in (
            _beats_volatility(group, walks),
            _beats_baseline(group, walks),
            _scales(group),
            _one_search(group),
        )
    ]
    errors = list(dict.fromkeys(finding.rule for finding in found if finding.kind == "error"))
    if not errors:
        return tuple(given)
    repair = f"Repair the errors first ({listed(errors)}). With these errors, the numbers say: "
    return tuple(Answer(a.question, "cannot say", f"{repair}{a.answer}. {a.sentence}") for a in given)


def _beats_volatility(group: Group, walks: tuple[Walked, ...]) -> Answer:
    question = "Is any transformer better than a volatility forecast?"
    if mine := _of_group(group, walks):
        return _by_folds(group, question, [(w, w.forecast) for w in mine], "the best volatility forecast")
    judged = [
        _CellVerdict(c, c.beyond.auc_gain, c.against_volatility, c.beyond.loss_at_once)
        for c in group.cells
        if c.beyond is not None
    ]
    if not judged:
        why = "No cell has both predictions and a volatility forecast on the same days yet; "
        return Answer(question, "cannot say", f"{why}`fts enqueue --matrix` enqueues the forecasts with the baselines.")
    given = _compared(group, question, judged, "the best volatility forecast")
    why = "A rise of the wanted size is mostly a question of how much prices move, and cheap forecasts know that. "
    return replace(given, sentence=why + given.sentence)


def _beats_baseline(group: Group, walks: tuple[Walked, ...]) -> Answer:
    question = "Does any transformer beat the best cheap baseline?"
    if mine := _of_group(group, walks):
        return _by_folds(group, question, [(w, w.baseline) for w in mine], "the best baseline")
    judged = [
        _CellVerdict(
            c,
            c.auc_gain,
            c.against_baseline,
            None if c.lowest_gain is None else c.lowest_gain.interval.at_once(c.looks),
        )
        for c in group.cells
        if c.auc_gain is not None
    ]
    if not judged:
        return Answer(question, "cannot say", "No cell has both predictions and baselines on the same days yet.")
    return _compared(group, question, judged, "the best baseline")


def _of_group(group: Group, walks: tuple[Walked, ...]) -> list[Walked]:
    return [w for w in walks if (w.row.task, w.row.tier) == (group.task, group.tier)]


def _by_folds(group: Group, question: str, judged: list[tuple[Walked, WalkComparison | None]], rival: str) -> Answer:
    """Answers from the winners' walk-forward folds."""
    compared = [(walk, beside) for walk, beside in judged if beside is not None]
    folds = judged[0][0].row.folds
    if not compared:
        why = f"{rival[0].upper()}{rival[1:]} has not run on the {folds} walk-forward folds yet."
        return Answer(question, "cannot say", why)
    verdicts = [walk.verdict(beside, len(compared)) for walk, beside in compared]
    better, worse = verdicts.count("above"), verdicts.count("below")
    losses = [beside.loss.at_once(len(compared)) for walk, beside in compared if walk.has_several_seeds]
    many, at_once = "1 winner", ""
    if len(compared) > 1:
        many, at_once = f"{len(compared)} winners", ", by intervals for all of them at once (Bonferroni)"
    text = (
        f"Walk-forward, {folds} folds. AUC: {better} of {many} clearly better than {rival}, {worse} clearly worse"
        f"{at_once}. Log loss, against the lowest: {sum(loss.high < 0 for loss in losses)} clearly better, "
        f"{sum(loss.low > 0 for loss in losses)} clearly worse."
    )
    if better:
        return Answer(question, "yes", f"{text} Better on the folds before the days that the winner was chosen on.")
    lead = [(walk, beside) for walk, beside in compared if beside.auc.at_once(len(compared)).low > 0]
    if lead:
        why = "with one seed" if lead[0][0].seeds < 2 else "not clearly on the folds before its search's days"
        return Answer(question, "perhaps", f"{text} {_winners(len(lead))} ahead on all days, but {why}.")
    if alone := [walk for walk, _ in compared if not walk.has_several_seeds]:
        of_it = (
            f"`fts replicate {alone[0].row.experiment} --folds {alone[0].asked_folds} --seeds 3` trains it with others"
        )
        nothing = f"One seed allows no verdict, and {_winners(len(alone))} trained with one: {of_it}."
        if len(alone) == len(compared):
            return Answer(question, "cannot say", f"Walk-forward, {folds} folds. {nothing}")
        return Answer(question, "not shown", f"{text} {nothing}")
    if worse == len(compared):
        done = len(compared) == len(group.cells) and all(c.is_searched for c in group.cells)
        answer = f"not at {listed(list(group.budgets))}" if done else "not so far"
        return Answer(question, answer, text)
    zero = "Its interval of AUC includes zero" if len(compared) == 1 else "The other intervals of AUC include zero"
    return Answer(question, "not shown", f"{text} {zero}.")


def _winners(n: int) -> str:
    return "1 winner is" if n == 1 else f"{n} winners are"


@dataclass(frozen=True)
class _CellVerdict:
    """A cell and its rivals: the strongest by AUC, and the one with the lowest loss."""

    cell: CellSummary
    gain: Difference
    verdict: str  # above | below | open, for all trials together
    loss_at_once: Interval | None


def _compared(group: Group, question: str, judged: list[_CellVerdict], rival: str) -> Answer:
    better = [one.cell for one in judged if one.verdict == "above"]
    worse = [one.cell for one in judged if one.verdict == "below"]
    looks = max(one.cell.looks for one in judged)
    many = f"{len(judged)} cell{'' if len(judged) == 1 else 's'}"
    by_auc = f"AUC: {len(better)} of {many} clearly better than {rival}, {len(worse)} clearly worse"
    at_once = f", by intervals for all {looks} trials at once (Bonferroni)" if looks > 1 else ""
    counts = f"{by_auc}{at_once}. {_by_loss(judged)}"
    if any(c.luck is None or c.luck.beyond_luck for c in better):
        return Answer(question, "yes", f"{counts}.")
    waiting = [one for one in judged if not one.cell.is_trained_again and one.gain.interval.at_once(looks).low > 0]
    if waiting:
        return Answer(
            question,
            "not yet",
            f"{counts}. {_cells(len(waiting))} ahead, but nothing is claimed of a best trial before it was trained "
            "with other seeds (`fts replicate CELL`): it was chosen, they are not.",
        )
    alone = [one for one in judged if one.gain.clear and one.gain.interval.value > 0]
    if alone:
        return Answer(
            question,
            "perhaps",
            f"{counts}. Taken alone, {_cells(len(alone))} better; but the best of {looks} trials that are only as good "
            f"as {rival} can reach this by luck. The sealed test set can decide (`fts final CELL`).",
        )
    if len(worse) == len(judged):
        left = sum(max(0, (c.trials_wanted or 0) - c.n_complete - c.n_pruned - c.n_failed) for c in group.cells)
        to_come = f" {left} {'trial has' if left == 1 else 'trials have'} not run yet." if left else ""
        text = f"{counts}. All are compared on the same validation days.{to_come}"
        if len(judged) < len(group.cells) or left:
            return Answer(question, "not so far", text)
        if untried := [size for size in NAMED_SIZE if size not in group.budgets]:
            text += f" {listed(untried)} {'has' if len(untried) == 1 else 'have'} not been tried."
            return Answer(question, f"not at {listed(list(group.budgets))}", text)
        return Answer(question, "no", text)
    return Answer(question, "not shown", f"{counts}. The intervals of the other cells include zero.")


def _by_loss(judged: list[_CellVerdict]) -> str:
    """Answers the question by log loss, against the rival with the lowest loss, which may not be the best by AUC."""
    gains = [one.loss_at_once for one in judged if one.loss_at_once is not None]
    clear = [gain.value for gain in gains if not gain.covers(0.0)]
    better, worse = sum(value < 0 for value in clear), sum(value > 0 for value in clear)
    return f"Log loss: {better} clearly better, {worse} clearly worse"


def _scales(group: Group) -> Answer:
    question = "Does it get better as it grows?"
    fits = [(curve.horizon, curve.loss_fit) for curve in group.scaling if curve.loss_fit is not None]
    if not fits:
        most = max((len(set(curve.n_params)) for curve in group.scaling), default=0)
        return Answer(
            question,
            "cannot say",
            f"A slope needs at least {FEWEST_SIZES} sizes at one horizon; there {_are(most)} so far.",
        )
    verdicts = {fit.verdict for _, fit in fits}
    text = " ".join(f"h{horizon}: {fit.sentence}" for horizon, fit in fits)
    if verdicts == {"no scaling seen"}:
        gain = max(0.0, *(fit.gain_high or 0.0 for _, fit in fits))
        horizons = listed([f"h{horizon}" for horizon, _ in fits])
        text = (
            f"At {horizons}, a constant fits the loss of {fits[0][1].n_sizes} sizes as well as a power law. "
            f"From the smallest to the largest size the loss falls by at most {gain:.3f} nats (95 %)."
        )
    if verdicts == {"scales"}:
        return Answer(question, "yes", text)
    if verdicts == {"no scaling seen"}:
        return Answer(question, "not shown", text)
    return Answer(question, "cannot say" if "cannot say" in verdicts else "in part", text)


def _one_search(group: Group) -> Answer:
    return Answer("Can one hyperparameter search serve all horizons?", group.variance.verdict, group.variance.sentence)


def _are(n: int) -> str:
    return "is 1" if n == 1 else f"are {n}"


def _cells(n: int) -> str:
    return "1 cell is" if n == 1 else f"{n} cells are"
