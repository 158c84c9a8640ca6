"""What a trained network of expression looks at: places of a promoter, and maps of its embeddings.

Shapes: S promoters, T tissues.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.expression_set import ExpressionSet
from genomelm_utils.interpretation.expression_embeddings import (
    map_embeddings,
    stack_embeddings,
    write_projector,
)
from genomelm_utils.interpretation.kmer_flips import on_text, plan_flips, run_flips, score_places
from genomelm_utils.interpretation.kmer_regions import plan_region_flips, rank_kmers
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.tasks.regressor import Regressor

MAX_EMBEDDED = 500


@dataclass(frozen=True)
class Importance:
    """places: see `score_places`. n_flips: predictions that were made."""

    places: pd.DataFrame
    n_flips: int


def flip_kmers(
    regressor: Regressor,
    promoters: ExpressionSet,
    *,
    ks: Sequence[int],
    span_bp: int,
    promoters_per_place: int,
    seed: int,
    rule: str = "corrected",
) -> Importance:
    """Importance of the places of test promoters for a network, for every k.

    rule: of `kmer_flips`; 'reference' flips every promoter once per k, counts places from the 5'
    end, and has its own design: `promoters_per_place` does not apply.
    """
    test = promoters.select("test")
    codes = [encode(text) for text in test.genes["sequence"]]
    flips = plan_flips(
        codes,
        seed,
        ks=tuple(ks),
        gap_bp=test.genes["gap_bp"],
        rule=rule,
        span_bp=min(span_bp, int(test.lengths_bp.max())),
        promoters_per_place=promoters_per_place,
        flips_per_place=1,
    )
    change_NT = run_flips(on_text(regressor.predict), codes, flips)
    return Importance(score_places(flips, change_NT, rule=rule), len(flips))


def rank_region_kmers(
    regressor: Regressor,
    promoters: ExpressionSet,
    *,
    ends_bp: Sequence[int],
    k: int,
    repeats: int,
    seed: int,
    rule: str = "corrected",
) -> pd.DataFrame:
    """The words of each region whose loss or gain moves predictions most, see `rank_kmers`.

    ends_bp: far ends of the regions, such as (10, 100, 1000); a region that no test promoter
    reaches is left out. repeats: words replaced per promoter and region.
    """
    test = promoters.select("test")
    codes = [encode(text) for text in test.genes["sequence"]]
    flips = plan_region_flips(
        codes, seed, k=k, ends_bp=tuple(ends_bp), gap_bp=test.genes["gap_bp"], rule=rule,
        repeats=repeats,
    )  # fmt: skip
    return rank_kmers(flips, run_flips(on_text(regressor.predict), codes, flips))


def compare_with_planted(places: pd.DataFrame, planted: pd.DataFrame) -> pd.DataFrame:
    """Mean importance of k-mers that touch each motif's places, and of all that touch none.

    planted: motif, first_bp, last_bp (of `prepare_expression`).

    Columns motif ('none' last), first_bp, last_bp, importance, times (over 'none').
    """
    first, last = places["distance_bp"], places["distance_bp"] + places["k"] - 1
    free = np.ones(len(places), dtype=bool)
    rows = []
    for row in planted.itertuples():
        touched = ((last >= row.first_bp) & (first <= row.last_bp)).to_numpy()
        free &= ~touched
        rows.append((row.motif, row.first_bp, row.last_bp, places["importance"][touched].mean()))
    rows.append(("none", np.nan, np.nan, places["importance"][free].mean()))
    table = pd.DataFrame(rows, columns=["motif", "first_bp", "last_bp", "importance"])
    table["times"] = table["importance"] / table["importance"].iloc[-1]
    return table


def describe_planted(places: pd.DataFrame, found: pd.DataFrame) -> str:
    """A sentence: whether the planted places come out on top.

    The top place is that of the highest importance, mean over k, smoothed over ten bases.
    """
    by_place = places.groupby("distance_bp")["importance"].mean().sort_index()
    smooth = by_place.rolling(10, min_periods=1, center=True).mean()
    top = int(smooth.idxmax())
    motifs = found[found["motif"] != "none"]
    inside = motifs[(motifs["first_bp"] <= top) & (motifs["last_bp"] >= top)]
    told = ", ".join(f"{row.motif} {row.times:.1f}" for row in motifs.itertuples())
    verdict = (
        f"The place that moves predictions most, {top} bp, lies in the planted "
        f"{inside['motif'].iloc[0]} ({inside['first_bp'].iloc[0]:.0f} to "
        f"{inside['last_bp'].iloc[0]:.0f} bp): the truth is found."
        if len(inside)
        else f"The place that moves predictions most, {top} bp, holds no planted motif: the truth "
        "is not found."
    )
    return f"{verdict} Importance of planted places over all others: {told}."


def embed_promoters(
    regressor: Regressor, promoters: ExpressionSet, folder: Path, *, seed: int
) -> pd.DataFrame:
    """A map of test promoters and tissues (PCA), and TensorBoard's files of it in `folder`.

    Columns of `map_embeddings`; mean_expression: mean label of promoters.
    """
    test = promoters.select("test")
    rows_SD = regressor.embed(test.genes["sequence"].tolist())
    labels_S = np.nanmean(regressor.transform.apply(test.tpm_ST), axis=1)
    rows, names = stack_embeddings(
        rows_SD,
        regressor.model.tissue_embeddings().numpy(),
        test.genes.assign(gene_id=test.genes["gene_id"].astype(str)),
        test.tissues,
        n_promoters=MAX_EMBEDDED,
        seed=seed,
    )
    write_projector(folder, rows, names)
    places = map_embeddings(rows, names, seed=seed)
    of_gene = dict(zip(zip(test.genes["gene_id"], test.genes["line"], strict=True), labels_S,
                       strict=True))  # fmt: skip
    keys = zip(places["name"], places["line"], strict=True)
    return places.assign(mean_expression=[of_gene.get(key, np.nan) for key in keys])
