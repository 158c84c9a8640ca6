"""Which k-mers matter in which region upstream of the TSS: flips in regions, ranked words.

Regions are given by their ends, (10, 100, 1000): 1 to 10, 11 to 100, 101 to 1000 bases upstream.
Under the reference rule they are counted from the 5' end, [0, 10), [10, 100), [100, 1000): the
first is then the part furthest from the gene, although FloraBERT's text means the nearest.
Source: Levy et al. 2022 (FloraBERT), released `top_kmers_by_position.py`.

Shapes: S promoters, N flips, T tissues.
"""

import logging
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from genomelm_utils.interpretation.kmer_flips import (
    FLIP_COLUMNS,
    RULES,
    check_changes,
    check_rule,
    words_at,
)
from genomelm_utils.sequences.alphabet import N_BASES
from genomelm_utils.sequences.kmers import kmer_string
from genomelm_utils.sequences.tss import Gaps, distance_of, fill_gaps, index_of

logger = logging.getLogger(__name__)

REGION_ENDS_BP = (10, 100, 1000)
REGION_K = 3
SIDES = ("lost", "gained")
MIN_FLIPS = 5  # below that a mean says nothing; such words are counted in the log


def plan_region_flips(
    codes: Sequence[np.ndarray],
    seed: int,
    *,
    k: int = REGION_K,
    ends_bp: Sequence[int] = REGION_ENDS_BP,
    gap_bp: Gaps = None,
    rule: str = "corrected",
    repeats: int = 1,
) -> pd.DataFrame:
    """One flip per promoter, region and repeat: the columns of `plan_flips`, region and repeat.

    A promoter takes part in a region only if it reaches to the far end of it; how many do is in the
    log. The word lies inside the region, its place uniform. Corrected: every flip is a real change,
    words with an N are left out and counted. Reference: any of 4**k words; repeat r draws from a
    generator of its own, as there with r as the seed.

    Raises: ValueError for settings out of range, a region smaller than k, or no promoter that
        reaches any region.
    """
    check_rule(rule)
    if k < 1 or repeats < 1 or not len(ends_bp):
        raise ValueError(f"k is {k}, repeats {repeats}, ends {tuple(ends_bp)}; expected 1 or more")
    lengths_S = np.array([len(one) for one in codes], dtype=np.int64)
    gaps_S = fill_gaps(gap_bp, len(codes))
    parts = []
    for i, (near, far) in enumerate(pairwise((0, *ends_bp))):
        if far - near < k:
            raise ValueError(f"the region {near} to {far} bp is smaller than a word of {k} bases")
        parts += _plan_region(codes, lengths_S, gaps_S, (near, far), k, rule, repeats, [seed, i])
    if not parts:
        raise ValueError(
            f"no promoter of {len(codes)} reaches {ends_bp[0]} bp; take smaller regions"
        )
    return pd.concat(parts, ignore_index=True)


def rank_kmers(
    flips: pd.DataFrame, change_NT: np.ndarray, *, min_flips: int = MIN_FLIPS
) -> pd.DataFrame:
    """Words of each region by how far predictions move when they are lost, or gained.

    One row per region, side and word, the largest importance first: region, side, kmer, importance
    (mean of |y' - y| over flips and tissues), se (over promoters), effect (mean of y' - y: below 0
    for a lost word that raised expression), n_flips, n_promoters. Flips that change nothing count
    for no word. Words with fewer than `min_flips` flips are left out and counted in the log.
    """
    check_changes(flips, change_NT)
    moved = flips.assign(moved=np.abs(change_NT).mean(1), effect=change_NT.mean(1))
    moved = moved[(moved["old"] != moved["new"]) & (moved["old"] >= 0)]
    parts = []
    for side, column in zip(SIDES, ("old", "new"), strict=True):
        by = ["region", "k", column]
        means = moved.groupby([*by, "promoter"], sort=True).agg(
            moved=("moved", "mean"), effect=("effect", "mean"), n_flips=("moved", "size")
        )
        found = means.groupby(by, sort=True).agg(
            importance=("moved", "mean"),
            se=("moved", "sem"),
            effect=("effect", "mean"),
            n_flips=("n_flips", "sum"),
            n_promoters=("n_flips", "size"),
        )
        found = found.reset_index().rename(columns={column: "word"})
        parts.append(found.assign(side=side))
    table = pd.concat(parts, ignore_index=True)
    rare = table["n_flips"] < min_flips
    if rare.any():
        logger.info("%d words with fewer than %d flips are left out", int(rare.sum()), min_flips)
    table = table[~rare].copy()
    table["kmer"] = [kmer_string(w, k) for w, k in zip(table["word"], table["k"], strict=True)]
    order = {region: i for i, region in enumerate(flips["region"].unique())}
    table["order"] = table["region"].map(order)
    table["lost_first"] = table["side"] != SIDES[0]
    table = table.sort_values(
        ["order", "lost_first", "importance", "kmer"], ascending=[True, True, False, True]
    )
    columns = ["region", "side", "kmer", "importance", "se", "effect", "n_flips", "n_promoters"]
    return table[columns].reset_index(drop=True)


def name_region(near_bp: int, far_bp: int, rule: str = "corrected") -> str:
    """'-10 to -1' for the bases 1 to 10 upstream; '0 to 9' from the 5' end (reference)."""
    return f"-{far_bp} to -{near_bp + 1}" if rule == RULES[0] else f"{near_bp} to {far_bp - 1}"


def _plan_region(codes, lengths_S, gaps_S, borders, k, rule, repeats, seed) -> list[pd.DataFrame]:
    """The flips of one region, one table per repeat; none where no promoter reaches it."""
    near, far = borders
    region = name_region(near, far, rule)
    if rule == "corrected":
        begins_S = index_of(np.full(len(codes), -far), lengths_S, gaps_S)
    else:
        begins_S = np.full(len(codes), near)
    inside = (begins_S >= 0) & (begins_S + far - near <= lengths_S)
    promoters = np.flatnonzero(inside)
    logger.info("%s: %d of %d promoters reach it", region, len(promoters), len(codes))
    parts = []
    for repeat in range(repeats if len(promoters) else 0):
        rng = np.random.default_rng([*seed, repeat])
        start = begins_S[promoters] + rng.integers(0, far - near - k + 1, len(promoters))
        part = pd.DataFrame({"promoter": promoters, "k": k, "start": start})
        part["distance_bp"] = distance_of(start, lengths_S[promoters], gaps_S[promoters])
        part["old"] = words_at(codes, promoters, start, k)
        n_words = N_BASES**k - (rule == "corrected")
        new = rng.integers(0, n_words, len(promoters))
        if rule == "corrected":
            new += (new >= part["old"]) & (part["old"] >= 0)
        part["new"] = new
        part = part[list(FLIP_COLUMNS)].assign(region=region, repeat=repeat)
        if rule == "corrected" and (part["old"] < 0).any():
            n_ambiguous = int((part["old"] < 0).sum())
            logger.info("%s: %d words hold an N and were not flipped", region, n_ambiguous)
            part = part[part["old"] >= 0]
        parts.append(part)
    return parts
