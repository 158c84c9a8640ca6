"""Does training on pairs beat counting 4-mers? Answers in words, from the tables of stage 10."""

import pandas as pd

from genomelm_utils.baselines.species_methods import REFERENCE, is_main, method_label
from genomelm_utils.evaluation.statistics import Comparison
from genomelm_utils.figures.species import describe_ari, describe_bin_quality, describe_difference


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
        sentences.append(describe_difference(found, label, method_label(REFERENCE)))
    return " ".join([text, *sentences])


def describe_binning(table: pd.DataFrame) -> str:
    """Sentences: bins by quality, and what the published score leaves out, of what is judged and of
    canonical TNF."""
    text = describe_bin_quality(table)
    sentences = [
        f"{row.label}: mean F1 {row.f1_reference:.3f} on binned contigs alone, as published, and "
        f"{row.f1:.3f} with the {100 * row.unbinned_bp:.0f} % of the bases that are in no bin"
        for row in table.itertuples()
        if is_main(row.method) or row.method == REFERENCE
    ]
    failed = table.loc[table["gamma"].isna(), "label"].tolist()
    if failed:
        sentences.append(f"not binned for want of a threshold: {', '.join(failed)}")
    return f"{text} {'; '.join(sentences)}."
