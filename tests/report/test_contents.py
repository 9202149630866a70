"""What stands on top of the report is what was not reproduced."""

from basins.report.contents import headline

CLAIM = {
    "statement": "Paths have barriers.",
    "statistic": "mean barrier",
    "estimate": 0.0123,
    "ci_low": 0.0101,
    "ci_high": 0.0149,
    "threshold": 0.05,
    "n": 3,
}


def test_a_claim_that_was_not_reproduced_has_its_sentence():
    verdicts = ("reproduced", "not reproduced", "undecided")
    assert headline([{**CLAIM, "verdict": verdict} for verdict in verdicts]) == [
        "Paths have barriers. Not reproduced: mean barrier is 0.012 [0.010, 0.015], "
        "threshold 0.05, 3 seeds."
    ]
