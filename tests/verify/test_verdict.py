"""Verdicts combine as theory T10 says."""

import pytest

from spverify.verify.verdict import Statement, combine


def statement(verdict, role="required"):
    return Statement("x", role, "text", verdict, 1.0, 2.0, "exact", "why")


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["holds", "holds"], "holds"),
        (["holds", "refuted", "inconclusive"], "refuted"),
        (["holds", "inconclusive"], "inconclusive"),
        ([], "inconclusive"),
    ],
)
def test_required_statements_decide(verdicts, expected):
    information = [statement("refuted", "information"), statement("inconclusive", "information")]
    assert combine([statement(v) for v in verdicts] + information) == expected


def test_unknown_verdicts_are_refused():
    with pytest.raises(ValueError, match="maybe"):
        statement("maybe")
