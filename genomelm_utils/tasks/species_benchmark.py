"""How well do embeddings tell species apart? The tables of notebook 10, one function each.

All tables are tidy, hold no times, and are the same to the byte for the same features and seed on
the same machine. `method` says how sequences were embedded, `label` what that is called in words.

Shapes: S sequences, D width of a method's features.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from genomelm_utils.baselines.species_methods import REFERENCE, is_main, label_methods
from genomelm_utils.datasets.species_contigs import Contigs
from genomelm_utils.evaluation.binning import bin_contigs
from genomelm_utils.evaluation.binning_scores import (
    honest_scores,
    recovered_curve,
    reference_scores,
)
from genomelm_utils.evaluation.binning_threshold import (
    MIN_PAIRS,
    labelled_threshold,
    split_threshold,
)
from genomelm_utils.evaluation.clustering import (
    UNITS,
    cluster_intervals,
    cluster_scores,
    compare_features,
)
from genomelm_utils.evaluation.projection import project_methods
from genomelm_utils.evaluation.species_classification import few_shot_scores
from genomelm_utils.evaluation.statistics import Comparison, correct_holm, interval_table
from genomelm_utils.tasks.species_sets import Embedded, Features

KEYS = ["method", "label"]
PAIRED = ["unit", "difference", "low", "high", "p", "p_holm", "n"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, linear algebra sums in one order: the same bytes whatever the number of cores."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def describe_features(embedded: Embedded) -> pd.DataFrame:
    """What each method made: method, label, n_sequences, width, n_halves."""
    rows = [
        {"method": method, "n_sequences": len(values), "width": values.shape[1],
         "n_halves": len(embedded.halves[method][0])}
        for method, values in embedded.features.items()
    ]  # fmt: skip
    return _tidy([pd.DataFrame(rows)])


# --- map -----------------------------------------------------------------------------------


def map_species(
    features: Features, species: Sequence[str], *, max_sequences: int, seed: int
) -> pd.DataFrame:
    """Places of sequences on PCA and t-SNE maps: projection, method, species, x, y.

    Methods: the first that was trained, the first untrained, and canonical TNF. More than
    `max_sequences` are thinned out at random, the same for all methods.
    """
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.permutation(len(species))[:max_sequences])
    untrained = [name for name in features if name.split("-")[-1] == "untrained"]
    shown = [*[name for name in features if is_main(name)][:1], *untrained[:1], REFERENCE]
    found = {method: features[method][drawn] for method in shown}
    return project_methods(found, np.array(species)[drawn], seed=seed)


# --- clustering ----------------------------------------------------------------------------


class Clustering(NamedTuple):
    """`scores`: method, label, seed, ari, nmi, homogeneity, completeness. `ari`: method, label,
    unit, mean, low, high, n. `paired`: method minus canonical TNF, see `compare_with_reference`."""

    scores: pd.DataFrame
    ari: pd.DataFrame
    paired: pd.DataFrame


def cluster_methods(
    features: Features, species: Sequence[str], *, n_seeds: int, seed: int
) -> Clustering:
    """K-means of every method against the species, with intervals over seeds, contigs, species."""
    seeds = range(n_seeds)
    scores, ari = [], []
    with one_thread():
        for method, features_SD in features.items():
            rng = np.random.default_rng(seed)  # the same resamples for all
            found = cluster_scores(features_SD, species, seeds)
            scores.append(found.assign(method=method))
            intervals = cluster_intervals(features_SD, species, rng, seeds)
            ari.append(intervals.assign(method=method))
        paired = compare_with_reference(features, species, seeds, seed)
    return Clustering(_tidy(scores), _tidy(ari), paired)


def compare_with_reference(
    features: Features, species: Sequence[str], seeds: Sequence[int], seed: int
) -> pd.DataFrame:
    """Each method's ARI minus that of canonical TNF: method, label, unit (species, contig),
    difference, low, high, p, p_holm (Holm's correction over the methods of a unit), n."""
    rows = []
    for unit in UNITS:
        for method in features:
            if method == REFERENCE:
                continue
            both = features[method], features[REFERENCE]
            rng = np.random.default_rng(seed)
            found = compare_features(*both, species, rng, unit=unit, seeds=seeds)
            rows.append({"method": method, **found._asdict()})
    table = pd.DataFrame(rows, columns=["method", *Comparison._fields])
    table["p_holm"] = np.nan
    for _, part in table.groupby("unit"):
        table.loc[part.index, "p_holm"] = correct_holm(part["p"])
    return label_methods(table)[[*KEYS, *PAIRED]]


# --- few-shot ------------------------------------------------------------------------------


class SpeciesFewShot(NamedTuple):
    """`table`: method, label, shots, mean, low, high, n, unit of macro-F1. `skipped`: species with
    too few sequences."""

    table: pd.DataFrame
    skipped: pd.DataFrame


def classify_methods(
    features: Features,
    species: Sequence[str],
    *,
    shots: Sequence[int],
    n_seeds: int,
    protocol: str = "corrected",
) -> SpeciesFewShot:
    """Macro-F1 of a linear classifier from few labelled sequences, 95 % intervals over draws.

    protocol: `corrected` or `reference`, the `mode` of `few_shot_scores`.
    """
    options = {"shots": shots, "seeds": range(n_seeds), "mode": protocol}
    scores = []
    with one_thread():
        for method, features_SD in features.items():
            found = few_shot_scores(features_SD, species, **options)
            scores.append(found.scores.assign(method=method))
    draws = _tidy(scores)
    table = interval_table(draws, by=[*KEYS, "shots"], value="macro_f1", draw="seed")
    return SpeciesFewShot(table, found.skipped)


# --- binning -------------------------------------------------------------------------------


class SpeciesBins(NamedTuple):
    """Tables of a binning; both empty where there was nothing to bin (`why_not`).

    table: a row per method: gamma and where it comes from (`why`), contigs and bins, shares left
    out (`unbinned_bp`, `unbinned_contigs`), mean F1 over species as published, on binned contigs
    alone (`f1_reference`), beside the honest one (`f1`, in base pairs), species with F1 above 0.5
    by both (`recovered_reference`, `recovered`), `n_bins_50_10`, `n_bins_90_5`, ...
    recovered: method, label, threshold, n_recovered, n_species, share, low, high (honest F1).
    """

    table: pd.DataFrame
    recovered: pd.DataFrame
    why_not: str


RECOVERED_F1 = 0.5  # the lowest threshold of the published figure
PROTOCOLS = {"corrected": "fixed", "reference": "reference"}  # protocol -> mode of `bin_contigs`


def bin_methods(
    embedded: Embedded,
    contigs: Contigs,
    *,
    min_bp: int,
    min_bin_size: int,
    seed: int,
    protocol: str = "corrected",
) -> SpeciesBins:
    """Contigs of at least `min_bp` binned by every method.

    gamma is a method's own. protocol `corrected`: without labels, from halves of contigs.
    `reference`: from the species of the contigs (`labelled_threshold`), here of the very ones that
    are binned, and with the released algorithm's slips (`bin_contigs`). Where gamma cannot be found
    (features that do not tell halves of a contig from others) nothing is binned, and `why` says so.
    Species with fewer contigs than a bin needs stay: for all methods alike they are not recovered.

    Errors: ValueError for an unknown protocol.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol is {protocol!r}, expected one of {', '.join(PROTOCOLS)}")
    long_S = contigs.lengths >= min_bp
    n_halves = len(next(iter(embedded.halves.values()))[0])
    n_found = n_halves if protocol == "corrected" else int(long_S.sum())
    if n_found < MIN_PAIRS:
        why_not = (
            f"Nothing was binned: the threshold takes at least {MIN_PAIRS} sequences of "
            f"{min_bp:,} bp or more, found {n_found}."
        )
        names = ["method", "n_bins_50_10", "n_bins_90_5", "n_species"]
        empty = label_methods(pd.DataFrame(columns=names))
        curve = ["method", "label", "threshold", "n_recovered", "n_species", "low", "high"]
        return SpeciesBins(empty, pd.DataFrame(columns=curve), why_not)
    chosen = contigs.take(long_S)
    rows, curves = {}, {}
    for method, features_SD in embedded.features.items():
        rng = np.random.default_rng(seed)
        given = features_SD[long_S], chosen.species, embedded.halves[method]
        gamma, why, bins_S = _bin(*given, min_bin_size, rng, protocol)
        rows[method], f1_C = _score(chosen, bins_S)
        rows[method] = {"gamma": gamma, "why": why, "n_contigs": len(chosen)} | rows[method]
        curves[method] = recovered_curve(f1_C, rng)
    table = tabulate_bins(rows)
    order = [*KEYS, *[name for name in table if name not in KEYS]]
    n_species = len(set(chosen.species))
    recovered = tabulate_recovered(curves, n_species)
    names = ["threshold", "n_recovered", "n_species", "share", "low", "high"]
    return SpeciesBins(table[order], recovered[[*KEYS, *names]], "")


def _bin(
    features_SD: np.ndarray,
    species: Sequence[str],
    halves: tuple[np.ndarray, np.ndarray],
    min_bin_size: int,
    rng: np.random.Generator,
    protocol: str,
) -> tuple[float, str, np.ndarray]:
    """(gamma, where it comes from, bins int64 [S]); all unbinned where there is no gamma."""
    unbinned_S = np.full(len(features_SD), -1)
    try:
        if protocol == "reference":
            gamma, why = labelled_threshold(features_SD, species)
        else:
            gamma, why = split_threshold(*halves, rng)
    except ValueError as error:  # told in the table: a method may fail where others do not
        return np.nan, f"not binned: {error}", unbinned_S
    if not 0 < gamma < 1:  # of labelled features that are all alike
        return np.nan, f"not binned: {why}, is {gamma:.7f}, expected one in (0, 1)", unbinned_S
    options = {"mode": PROTOCOLS[protocol], "min_bin_size": min_bin_size}
    return gamma, why, bin_contigs(features_SD, gamma, **options).labels


def _score(contigs: Contigs, bins_S: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """A row of the table, and the honest F1 of every species."""
    honest = honest_scores(contigs.species, bins_S, contigs.lengths)
    published = reference_scores(contigs.species, bins_S)["f1"]
    f1_C = honest.species["f1"].to_numpy()
    summary = dict(honest.summary)
    row = {
        "n_species": summary.pop("n_species"),
        "n_bins": summary.pop("n_bins"),
        "unbinned_bp": 1 - summary.pop("binned_bp"),
        "unbinned_contigs": 1 - summary.pop("binned_contigs"),
        "f1_reference": float(published.mean()),
        "f1": summary.pop("f1"),
        "recovered_reference": int((published > RECOVERED_F1).sum()),
        "recovered": int((f1_C > RECOVERED_F1).sum()),
    }
    return row | summary, f1_C


def tabulate_bins(summaries: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The table for `plot_bin_quality`: method -> `summary` of `binning_scores.honest_scores`.

    All of the summary is kept; counts of bins are called `n_bins_<complete>_<contaminated>`.
    """
    table = pd.DataFrame([{"method": method, **found} for method, found in summaries.items()])
    counts = [name for name in table if name.startswith("bins_")]
    return label_methods(table.rename(columns={name: f"n_{name}" for name in counts}))


def tabulate_recovered(curves: Mapping[str, pd.DataFrame], n_species: int) -> pd.DataFrame:
    """The table for `plot_recovered_species`: method -> `binning_scores.recovered_curve`."""
    parts = [
        curve.rename(columns={"n_species": "n_recovered"}).assign(method=method)
        for method, curve in curves.items()
    ]
    return label_methods(pd.concat(parts, ignore_index=True).assign(n_species=n_species))


def _tidy(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One table with method and label in front."""
    table = label_methods(pd.concat(parts, ignore_index=True))
    return table[[*KEYS, *[name for name in table if name not in KEYS]]]
