"""What crosses the borders of a split, and what equal promoters with unequal labels allow at best.

Shape suffixes: S promoters, U distinct sequences, T tissues.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from genomelm_utils.datasets.expression_set import PARTS, ExpressionSet
from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement
from genomelm_utils.sequences.clusters import COVERAGE, IDENTITY

KINDS = ("exact", "reverse complement", "similar")
N_RESAMPLES = 1000


def find_leaks(
    sequences: Sequence[str],
    parts: Sequence[str],
    *,
    identity: float = IDENTITY,
    coverage: float = COVERAGE,
) -> pd.DataFrame:
    """Promoters that have a twin in another part: one row per kind and pair of parts.

    Kinds: `exact` the same sequence, `reverse complement`, `similar` on either strand (at least
    `identity` over `coverage` of both, and neither of the others). Columns kind, part, other;
    n_pairs; n_promoters (of `part`, with such a twin in `other`), share (of the part); n_other,
    share_other; example, example_other (row numbers of the first pair, -1 if there is none).
    Every sequence is compared with every other that shares words with it, whatever the clusters
    were: a check of the split, not of the clustering.
    """
    part_S = np.asarray(parts, dtype=object)
    unknown = sorted(set(part_S.tolist()) - set(PARTS))
    if unknown or len(part_S) != len(sequences):
        raise ValueError(
            f"{len(part_S)} parts for {len(sequences)} sequences, among them "
            f"{', '.join(map(repr, unknown)) or 'no unknown one'}; expected {', '.join(PARTS)}"
        )
    unique_of_S, texts = pd.factorize(np.asarray(sequences, dtype=object))
    rows_of = pd.Series(np.arange(len(sequences))).groupby(unique_of_S).agg(list).tolist()
    pairs = [(u, u, "exact") for u, rows in enumerate(rows_of) if len(rows) > 1]
    number = {text: u for u, text in enumerate(texts)}
    other_of = [number.get(decode(reverse_complement(encode(text))), -1) for text in texts]
    pairs += [(u, v, "reverse complement") for u, v in enumerate(other_of) if v > u]
    turned = {(u, v) for u, v, kind in pairs if kind == "reverse complement"}
    parts_of = [frozenset(part_S[rows]) for rows in rows_of]
    similar = _find_similar(texts, parts_of, identity, coverage)
    pairs += [(u, v, "similar") for u, v in similar if (u, v) not in turned]
    return _count_leaks(pairs, rows_of, part_S)


def _find_similar(texts, parts_of, identity: float, coverage: float) -> list[tuple[int, int]]:
    """Pairs u < v of distinct sequences that are similar and not both in one and the same part."""
    from genomelm_utils.sequences.similar import build_index, find_similar

    index = build_index([encode(text) for text in texts])
    single = [next(iter(parts)) if len(parts) == 1 else "" for parts in parts_of]
    single_U = np.array(single, dtype=object)
    largest = Counter(single).most_common(1)[0][0]  # every pair has a side outside of it
    done_U = np.zeros(len(texts), dtype=bool)
    found = []
    for u in np.flatnonzero((single_U != largest) | (single_U == "")).tolist():
        done_U[u] = True
        blocked_U = done_U | ((single_U == single_U[u]) & (single_U != ""))
        targets, _, _ = find_similar(index, u, blocked_U, identity, coverage)
        found += [(min(u, v), max(u, v)) for v in targets.tolist()]
    return found


def _count_leaks(pairs, rows_of, part_S: np.ndarray) -> pd.DataFrame:
    sizes = Counter(part_S.tolist())
    present = [part for part in PARTS if sizes[part]]
    rows = []
    for kind in KINDS:
        for i, part in enumerate(present):
            for other in present[i + 1 :]:
                n_pairs, left, right, example = 0, set(), set(), (-1, -1)
                for u, v, pair_kind in pairs:
                    if pair_kind != kind:
                        continue
                    for a, b in {(u, v), (v, u)}:
                        in_part = [row for row in rows_of[a] if part_S[row] == part]
                        in_other = [row for row in rows_of[b] if part_S[row] == other]
                        if in_part and in_other:
                            n_pairs += len(in_part) * len(in_other)
                            left.update(in_part)
                            right.update(in_other)
                            found = (min(in_part), min(in_other))
                            example = found if example[0] < 0 else min(example, found)
                rows.append(
                    {
                        "kind": kind,
                        "part": part,
                        "other": other,
                        "n_pairs": n_pairs,
                        "n_promoters": len(left),
                        "share": len(left) / sizes[part],
                        "n_other": len(right),
                        "share_other": len(right) / sizes[other],
                        "example": example[0],
                        "example_other": example[1],
                    }
                )
    return pd.DataFrame(rows)


# --- noise ---------------------------------------------------------------------------------


def count_repeats(promoters: ExpressionSet) -> dict[str, int]:
    """n_promoters, n_distinct sequences, n_repeated (rows whose sequence another row has too),
    n_groups of such rows and the size of the largest."""
    sizes = promoters.genes["sequence"].value_counts()
    repeated = sizes[sizes > 1]
    return {
        "n_promoters": len(promoters),
        "n_distinct": len(sizes),
        "n_repeated": int(repeated.sum()),
        "n_groups": len(repeated),
        "largest": int(sizes.max()),
    }


def noise_ceiling(
    promoters: ExpressionSet,
    rng: np.random.Generator,
    *,
    transform: Callable[[np.ndarray], np.ndarray] = np.log1p,
    level: float = 0.95,
) -> pd.DataFrame:
    """The r2 that no model of the sequence alone passes, from equal promoters of unequal labels.

    Columns tissue (`mean` = over tissues), n_groups, n_repeated, within (variance inside of groups
    of equal promoters, pooled), total (variance over all promoters), ceiling = 1 - within / total,
    low and high (bootstrap over groups). transform: of raw units, the labels' scale. The ceiling is
    0 where labels differ as much within as between, and holds for all promoters only as far as
    those that are repeated are like the others. Tissues without two repeated labels: NaN.

    Source: one-way analysis of variance with random effects, Searle, Casella & McCulloch 1992.
    """
    labels_ST = transform(promoters.tpm_ST.astype(np.float64))
    group_S = pd.factorize(promoters.genes["sequence"])[0]
    rows, draws = [], []
    for tissue, label_S in zip(promoters.tissues, labels_ST.T, strict=True):
        row, drawn = _ceiling_of(label_S, group_S, rng)
        draws.append(drawn)
        rows.append({"tissue": tissue} | row | _interval(drawn, level))
    mean = pd.DataFrame(rows).drop(columns="tissue").mean().to_dict()
    counts = {name: max(row[name] for row in rows) for name in ("n_groups", "n_repeated")}
    known = [drawn for drawn in draws if not np.isnan(drawn).all()]
    drawn = np.mean(known, axis=0) if known else draws[0]
    rows.append({"tissue": "mean"} | mean | counts | _interval(drawn, level))
    return pd.DataFrame(rows)


def _ceiling_of(label_S: np.ndarray, group_S: np.ndarray, rng) -> tuple[dict, np.ndarray]:
    """The row of one tissue, and ceilings of resampled groups, float64[N_RESAMPLES]."""
    known = ~np.isnan(label_S)
    label_S = label_S - np.nanmean(label_S) if known.any() else label_S
    sums = pd.DataFrame({"n": known, "sum": label_S, "square": label_S**2})[known]
    by_group = sums.groupby(group_S[known]).sum().to_numpy(dtype=np.float64)
    n, total, square = by_group.T
    parts = np.stack([square - total**2 / n, n - 1, square, total, n])  # the first: around own mean
    repeated = n > 1
    row = {"n_groups": int(repeated.sum()), "n_repeated": int(n[repeated].sum())}
    within, variance, ceiling = _divide_variance(parts.sum(axis=1))
    row |= {"within": within, "total": variance, "ceiling": ceiling}
    drawn = np.full(N_RESAMPLES, np.nan)
    if not np.isnan(ceiling):
        for i in range(N_RESAMPLES):
            weights = np.bincount(rng.integers(len(n), size=len(n)), minlength=len(n))
            drawn[i] = _divide_variance(parts @ weights)[2]
    return row, drawn


def _divide_variance(sums: np.ndarray) -> tuple[float, float, float]:
    """(variance inside of groups, variance of all, ceiling), NaN where nothing tells them."""
    inside, freedom, square, total, n = sums.tolist()
    within = inside / freedom if freedom > 0 else np.nan
    variance = (square - total**2 / n) / (n - 1) if n > 1 else np.nan
    if not (freedom > 0 and variance > 0):
        return within, variance, np.nan
    return within, variance, max(0.0, 1 - within / variance)


def _interval(drawn: np.ndarray, level: float) -> dict[str, float]:
    """low and high of resampled ceilings; resamples without a repeated group tell nothing."""
    told = drawn[~np.isnan(drawn)]
    if not len(told):
        return {"low": np.nan, "high": np.nan}
    low, high = np.quantile(told, [(1 - level) / 2, (1 + level) / 2])
    return {"low": float(low), "high": float(high)}
