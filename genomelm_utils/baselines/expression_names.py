"""Methods of stage 07 by name: what each is called, and which are drawn. It imports no network."""

import pandas as pd

#: Baselines: name -> how to call it. bow2 to bow5 are FloraBERT's own (its Table 1).
EXPRESSION_BASELINES = {
    "tissue_mean": "tissue mean",
    "bow2": "2-mer counts, linear",
    "bow3": "3-mer counts, linear",
    "bow4": "4-mer counts, linear",
    "bow5": "5-mer counts, linear",
    "kmer_ridge": "1- to 6-mer counts, ridge",
    "binned_kmer_ridge": "1- to 6-mer counts by distance from the TSS, ridge",
    "motif_ridge": "plant promoter motifs, ridge",
    "boosting": "motifs and 3-mers by distance, gradient boosting",
    "cnn": "convolutional network",
}
#: Networks of stage 07: name -> how to call it.
NETWORKS = {"pretrained": "pretrained", "scratch": "not pretrained", "probe": "frozen, pretrained"}
#: Baselines that stay in a figure with many tissues: those that are penalised or learn.
MAIN_BASELINES = ("kmer_ridge", "binned_kmer_ridge", "motif_ridge", "boosting", "cnn")
#: Baselines that draw at random: only these change with the seed beyond how folds are dealt.
RANDOM_BASELINES = ("cnn",)


def label_models(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `label`, the name of each `model` in plain words; others keep their own."""
    names = NETWORKS | EXPRESSION_BASELINES
    return table.assign(label=[names.get(name, name) for name in table["model"]])
