"""genomicBERT's case studies in sentences: the network, the best baseline, what was published.

Figures of finished runs read it, so it imports no network.
"""

from collections.abc import Sequence

import pandas as pd

NETWORK = "genomicBERT"
#: What was published for each case, weighted F1 on a random split. Source: genomeNLP's manual
PUBLISHED = {"promoters": 0.7900291349379833, "proteins": 0.677488189237731}


def describe_verdict(
    scores: pd.DataFrame, paired: pd.DataFrame, baselines: Sequence[str], case_name: str = ""
) -> str:
    """Sentences: the network against the best baseline and, where there is one, the publication."""
    rows = scores[scores["metric"] == "f1"].set_index("method")
    best = rows.loc[[b for b in baselines if b in rows.index], "value"].idxmax()
    told = [_say(best, rows.loc[best])]
    if NETWORK in rows.index:
        told.insert(0, _say(NETWORK, rows.loc[NETWORK]))
        one = paired.set_index("other").loc[best]
        word = "loses to" if one["high"] < 0 else "beats" if one["low"] > 0 else "ties with"
        told.append(
            f"the network {word} it by {one['difference']:+.3f} [{one['low']:+.3f}, "
            f"{one['high']:+.3f}]"
        )
    if case_name in PUBLISHED:
        value = PUBLISHED[case_name]
        top = rows["value"].idxmax()
        told.append(
            f"published is {value:.3f} on a random split; the best here, {top}, has "
            f"{rows.loc[top, 'value']:.3f} with relatives kept together"
        )
    return f"Weighted F1: {'; '.join(told)}."


def _say(name: str, row: pd.Series) -> str:
    return f"{name} {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
