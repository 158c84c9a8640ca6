"""Sentences on the case studies: who is ahead, and what was published."""

import pandas as pd

from genomelm_utils.evaluation.case_verdict import NETWORK, describe_verdict


def test_the_verdict_says_who_is_ahead():
    scores = pd.DataFrame(
        {"method": [NETWORK, "words", "majority"], "metric": "f1",
         "value": [0.7, 0.8, 0.3], "low": [0.65, 0.75, 0.3], "high": [0.75, 0.85, 0.3]}
    )  # fmt: skip
    paired = pd.DataFrame({"other": ["words"], "metric": "f1", "difference": [-0.1],
                           "low": [-0.15], "high": [-0.05]})  # fmt: skip
    told = describe_verdict(scores, paired, ["words", "majority"], "promoters")
    assert "the network loses to it by -0.100 [-0.150, -0.050]" in told
    assert "published is 0.790" in told and "the best here, words, has 0.800" in told
    won = paired.assign(difference=0.1, low=0.05, high=0.15)
    assert "the network beats it" in describe_verdict(scores, won, ["words"])
    without = scores[scores["method"] != NETWORK]
    told = describe_verdict(without, paired.head(0), ["words", "majority"])
    assert told == "Weighted F1: words 0.800 [0.750, 0.850]."
