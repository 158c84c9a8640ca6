"""What the tables of stage 07 say: sentences, and names short enough for a figure.

Figures of finished runs read it, so it imports no network.
"""

import pandas as pd

from genomelm_utils.evaluation.regression import MEAN

MAX_NAME = 22  # letters of a tissue's name in a figure
#: Metrics of a control on permuted labels -> their value where nothing is known; None: no verdict.
CONTROL = {"r2": None, "R2": None, "skill": 0.0, "auc": 0.5}


def shorten_tissues(table: pd.DataFrame) -> pd.DataFrame:
    """The table with long names of tissues cut for figures, still apart from each other."""
    names = table["tissue"].unique()
    short = {name: name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…" for name in names}
    seen: dict[str, int] = {}
    for name, cut in short.items():
        seen[cut] = seen.get(cut, 0) + 1
        if seen[cut] > 1:
            short[name] = f"{cut}{seen[cut]}"
    return table.assign(tissue=table["tissue"].map(short))


def describe_comparison(paired: pd.DataFrame, metric: str = "R2") -> str:
    """A sentence: what the best network beats, what beats it, and what cannot be told apart."""
    rows = paired[(paired["metric"] == metric) & paired["difference"].notna()]
    if rows.empty:
        return f"{metric} is undefined for the methods to compare with."
    told = f"{rows['model'].iloc[0]}, chosen by validation loss, in {metric} (mean of tissues)"
    groups = {
        "beats": rows["low"] > 0,
        "is beaten by": rows["high"] < 0,
        "cannot be told from": (rows["low"] <= 0) & (rows["high"] >= 0),
    }
    parts = []
    for words, chosen in groups.items():
        if chosen.any():
            names = [
                f"{row.other} ({row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}])"
                for row in rows[chosen].itertuples()
            ]
            parts.append(f"{words} {', '.join(names)}")
    return f"{told} {'; '.join(parts)}. Intervals: paired over clusters."


def describe_seeds(seeds: pd.DataFrame) -> str:
    """A sentence: how far the seeds of each method lie apart in the last metric of the table."""
    metric, told = seeds.columns[-1], []
    for name, part in seeds.groupby("model", sort=False):
        if len(part) > 1:
            told.append(f"{name} {part[metric].min():.3f} to {part[metric].max():.3f}")
    if not told:
        return "One seed: what chance does to a network is not known here."
    return f"{metric} of single seeds (mean of tissues): {'; '.join(told)}."


def keep_control(scores: pd.DataFrame) -> pd.DataFrame:
    """Of the scores on permuted labels those that tell of a leak, mean of tissues."""
    chosen = (scores["tissue"] == MEAN) & scores["metric"].isin(CONTROL)
    return scores[chosen].reset_index(drop=True)


def describe_control(control: pd.DataFrame) -> str:
    """A sentence on permuted labels: whether anything was found where nothing is."""
    metric = next(
        m for m, none in CONTROL.items() if none is not None and (control["metric"] == m).any()
    )
    rows = control[control["metric"] == metric]
    told = [f"{r.model} {r.mean:+.3f} [{r.low:+.3f}, {r.high:+.3f}]" for r in rows.itertuples()]
    leaks = rows.loc[rows["low"] > CONTROL[metric], "model"].tolist()
    verdict = f"{', '.join(leaks)} finds something: a leak." if leaks else "nothing is found."
    name = {"skill": "Skill against the tissue means", "auc": "AUC"}[metric]
    return f"{name} on permuted labels: {'; '.join(told)}: {verdict}"
