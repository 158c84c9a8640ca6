"""Methods that tell species apart: what each is called, and what part it plays in a comparison.

`method` in a table is how sequences were embedded: a key of `MODELS` or `SPECIES_BASELINES`, or a
run's name with one of them at its end, such as `mini-untrained`. `label` is its name in words.
"""

import pandas as pd

#: Language models: name -> how to call it.
MODELS = {
    "trained": "trained on pairs",
    "published": "DNABERT-S, published",
    "weighted_simclr": "weighted SimCLR only",
    "simclr": "SimCLR only",
    "mlm": "masked language model",
    "untrained": "untrained network",
}
#: Methods without a language model, see `baselines.species_features`: name -> how to call it.
SPECIES_BASELINES = {
    "tnf": "TNF",
    "canonical_tnf": "canonical TNF",
    "tnf_k": "TNF-K",
    "tnf_k_reference": "TNF-K, rows as in DNABERT-S",
    "kmer_vectors": "4-mer vectors",
    "tnf_vae": "TNF-VAE",
    "kmer_contrastive": "contrastive 4-mer MLP",
}
#: Ends the name of an encoder whose vectors stand beside TNF-K's, see `species_sets.fuse_rows`.
FUSED = "+tnf_k"
#: What all else is compared with: it costs next to nothing.
REFERENCE = "canonical_tnf"
#: Baselines that stay where a figure has no room for all: the reference, and those that learn.
MAIN_BASELINES = (REFERENCE, "tnf_vae", "kmer_contrastive")
#: Networks that stand beside what is judged: not trained on pairs.
BESIDE = ("mlm", "untrained")


def known_part(method: str) -> str | None:
    """The known name in a method: itself, or the first that a run is named after; None if none.

    The encoder's, where it stands beside TNF-K.
    """
    known, method = MODELS | SPECIES_BASELINES, method.removesuffix(FUSED)
    return next((part for part in (method, *method.split("-")) if part in known), None)


def method_label(method: str) -> str:
    """A method's name in words; runs named after a method keep their own."""
    if is_fused(method):
        return f"{method_label(method.removesuffix(FUSED))} + {SPECIES_BASELINES['tnf_k']}"
    return (MODELS | SPECIES_BASELINES).get(method, method)


def is_fused(method: str) -> bool:
    """Whether a method is an encoder beside TNF-K (late fusion)."""
    return method.endswith(FUSED)


def label_methods(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `label`, the name of each method in plain words."""
    return table.assign(label=[method_label(method) for method in table["method"]])


def is_baseline(table: pd.DataFrame) -> pd.Series:
    """True for rows of methods without a language model."""
    return table["method"].isin(SPECIES_BASELINES)


def is_main(method: str) -> bool:
    """Whether a method is what is judged: trained on pairs here, or a published model.

    Runs' names may stand in front, as in `mini-untrained`.
    """
    beside = any(method == name or method.endswith(f"-{name}") for name in BESIDE)
    return method not in SPECIES_BASELINES and not beside


def select_main(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of language models and of `MAIN_BASELINES`: few enough to be told apart as lines."""
    return table[~is_baseline(table) | table["method"].isin(MAIN_BASELINES)]
