"""Tests of pages and conclusions read a few made-up studies: what follows from equal arrays is worked out once."""

import functools
import pickle

import pytest

from fts.analysis import beyond_volatility, luck, reality_check, study_data, summarise
from fts.scores import intervals

PURE = (
    (intervals.measure, (intervals, study_data, summarise)),
    (intervals.compare, (intervals, beyond_volatility, summarise)),
    (intervals.auc_interval, (intervals,)),
    (luck.null_aucs, (luck,)),
    (reality_check.superior_p, (reality_check,)),
    (reality_check._confidence_set, (reality_check,)),
)


def once(function):
    found = {}

    @functools.wraps(function)
    def answer(*words, **named):
        key = pickle.dumps((words, named))
        if key not in found:
            found[key] = function(*words, **named)
        return found[key]

    return answer


@pytest.fixture(autouse=True, scope="package")
def worked_out_once():
    with pytest.MonkeyPatch.context() as patch:
        for function, modules in PURE:
            answer = once(function)
            for module in modules:
                patch.setattr(module, function.__name__, answer)
        yield
