"""Does training on pairs beat counting 4-mers? The answer in words, from the tables of stage 10."""

import pandas as pd

from genomelm_utils.evaluation.statistics import Comparison
from genomelm_utils.figures.methods import BASELINES, REFERENCE, method_style
from genomelm_utils.figures.species import describe_ari, describe_difference

#: Networks that stand beside what is judged: not trained on pairs.
BESIDE = ("mlm", "untrained")


def is_main(method: str) -> bool:
    """Whether a method is what is judged: trained on pairs here, or a published model.

    Runs' names may stand in front, as in `mini-untrained`.
    """
    beside = any(method == name or method.endswith(f"-{name}") for name in BESIDE)
    return method not in BASELINES and not beside


def describe_clustering(ari: pd.DataFrame, paired: pd.DataFrame) -> str:
    """Sentences on ARI: the best methods, and whether what is judged beats canonical TNF.

    ari, paired: tables of `tasks.species_benchmark.cluster_methods`, of one run; intervals over
    species are taken, which speak of species never seen.
    """
    text = describe_ari(ari[ari["unit"] == "species"])
    rows = [row for row in paired[paired["unit"] == "species"].itertuples() if is_main(row.method)]
    if not rows:
        return f"{text} No model trained on pairs was given to compare with canonical TNF."
    sentences = []
    for row in rows:
        found = Comparison(row.difference, row.low, row.high, row.p, row.n, row.unit, exact=False)
        label = row.label[:1].upper() + row.label[1:]
        sentences.append(describe_difference(found, label, method_style(REFERENCE)[0]))
    return " ".join([text, *sentences])
