"""Published results of expression from promoters, for comparison; never a target, never an input.

Source: Levy et al. 2022, FloraBERT, Research Square rs-1927200/v1 (30 Aug 2022), Table 1: squared
Pearson correlation on the held-out genes of 26 maize lines.
"""

import pandas as pd

SOURCE = "Levy et al. 2022 (Research Square rs-1927200/v1), Table 1"
FLORABERT = "FloraBERT"
#: Columns of Table 1, 'all' first. The zeros under 'all' cannot be right, see
#: `regression_slips.explain_pooled_column`.
TISSUES = (
    *("all", "anther", "ear", "endosperm", "leaf", "leaf base", "leaf tip", "root", "shoot"),
    "tassel",
)
TABLE1 = {
    "BOW 2-mer": (0.000, 0.026, 0.031, 0.036, 0.030, 0.024, 0.038, 0.021, 0.021, 0.029),
    "BOW 3-mer": (0.000, 0.037, 0.054, 0.054, 0.043, 0.038, 0.052, 0.034, 0.037, 0.042),
    "BOW 4-mer": (0.000, 0.048, 0.085, 0.085, 0.062, 0.060, 0.070, 0.055, 0.056, 0.059),
    "BOW 5-mer": (0.000, 0.056, 0.116, 0.117, 0.077, 0.081, 0.086, 0.075, 0.075, 0.075),
    FLORABERT: (0.153, 0.092, 0.192, 0.169, 0.129, 0.137, 0.136, 0.101, 0.126, 0.123),
}
#: Names of tissues in the published tables of expression -> those of Table 1.
SYNONYMS = {
    "base": "leaf base",
    "middle": "leaf",
    "tip": "leaf tip",
    "leafbase": "leaf base",
    "leaftip": "leaf tip",
    "tassel inflorescence": "tassel",
    "ear inflorescence": "ear",
}


def published_table1() -> pd.DataFrame:
    """Table 1 as a tidy table: model, tissue, metric ('r2'), mean, suspect, source.

    'mean' is the mean of the nine tissues, computed here. suspect: True for zeros of 'all'.
    """
    rows = []
    for model, values in TABLE1.items():
        by_tissue = dict(zip(TISSUES, values, strict=True))
        by_tissue["mean"] = sum(values[1:]) / len(values[1:])
        rows += [
            (model, tissue, "r2", value, tissue == "all" and value == 0, SOURCE)
            for tissue, value in by_tissue.items()
        ]
    return pd.DataFrame(rows, columns=["model", "tissue", "metric", "mean", "suspect", "source"])


def beside_published(table: pd.DataFrame) -> pd.DataFrame:
    """r2 of ours (rows of `regression.evaluate`) under the published ones, tissues named alike.

    Columns: origin ('published' or 'here'), model, tissue, mean, low, high, suspect. Tissues that
    only one side has are kept. The published numbers have no intervals.
    """
    ours = table[table["metric"] == "r2"].assign(origin="here", suspect=False)
    ours["tissue"] = ours["tissue"].replace(SYNONYMS)
    theirs = published_table1().assign(origin="published", low=float("nan"), high=float("nan"))
    columns = ["origin", "model", "tissue", "mean", "low", "high", "suspect"]
    return pd.concat([theirs[columns], ours[columns]], ignore_index=True)
