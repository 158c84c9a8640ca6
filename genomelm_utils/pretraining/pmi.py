"""Pointwise mutual information of k-mers over all their segmentations, and rankings by it.

`PMI_k(w) = ln p(w) - max of the sum of ln p(piece)`, the maximum over all segmentations of w into
at least two pieces; `NPMI_k(w) = PMI_k(w) * ln f / (ln f + ln c)`, f the count of w and c = 101.
Natural logarithms. Source: PMI_k: Levine et al. 2021, PMI-Masking, ICLR; the discount, and the use
for 6-mers of a genome: Roy et al. 2023, GeneMask, ECAI.

Two modes. "corrected" is the formula: all segmentations, probabilities of each order that sum to
one. "reference" is what GeneMask's released code computed, its defects together as one mode: counts
floored to tens, probabilities that sum to 1/2 (each further piece adds ln 2 to a segmentation's
PMI), pieces of one or two bases only, and a two-piece score that never tries the last cut. Where
both mislead: the discount pulls the *negative* scores of rare words up, towards 0.

Tables are in the A, C, G, T order of `sequences.kmers`.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.kmers import kmer_codes, kmer_index, kmer_strings, revcomp_codes

if TYPE_CHECKING:  # ngrams needs numba, which a bare GPU machine does not have
    from genomelm_utils.pretraining.ngrams import NgramCounts

logger = logging.getLogger(__name__)

MODES = ("corrected", "reference")
MAX_K = 8  # 65,536 words; the tables of a longer k are mostly words seen a handful of times
# Source: released notebook, which also drops n-grams seen fewer times than this.
DISCOUNT_COUNT = 101

# Source: found by solving the published columns for all 4,096 words (residual below 1e-14).
REFERENCE_MAX_PIECE = 2
REFERENCE_PROBABILITY_SUM = 0.5
REFERENCE_COUNT_STEP = 10

# One- and two-base probabilities inside the published file, order A, C, G, T and AA, AC .. TT.
# Source: the same fit. They come from another count run than its 6-mers (1e-4 relative difference);
# CG is the remainder of the total, since no best segmentation of the file uses it.
PUBLISHED_P1 = np.array([132_810_395, 90_725_892, 90_926_613, 133_144_930]) / 895_215_660
# fmt: off
PUBLISHED_P2 = np.array([
    1_471_354, 750_172, 1_046_762, 1_159_154,
    1_077_982, 760_653, 139_152, 1_045_870,
    888_432, 625_515, 763_775, 752_625,
    989_674, 887_317, 1_080_658, 1_481_166,
]) / 29_840_522
# fmt: on

SCORE_COLUMNS = ("naive.pmi", "true.pmi", "dp.true.pmi", "norm_dp_true_pmi")
PUBLISHED_COLUMNS = ("ngram", *SCORE_COLUMNS, "ngram_size", "norm_pmi_rank_rel")


def pmi(counts: "NgramCounts", k: int) -> np.ndarray:
    """float64[4**k] PMI of every k-mer: its minimum over all segmentations, by dynamic programming.

    NaN for a word that was never seen: its PMI is unknown, not low.

    Args:
        counts: orders 1..k at least.
        k: word length, 2..8 bases.
    """
    _check_order(counts, k)
    log_p = _log_probabilities(counts, k, "corrected")
    return _excess(log_p[k], _best_segmentation(log_p, k, k - 1))


def npmi(counts: "NgramCounts", k: int, discount_count: float = DISCOUNT_COUNT) -> np.ndarray:
    """float64[4**k] PMI of every k-mer times its frequency discount; NaN for a word never seen.

    A word seen once scores 0 whatever its PMI; set `min_count` in `ranking` where that matters.
    """
    return pmi(counts, k) * frequency_discount(counts.counts[k], discount_count)


def frequency_discount(count: np.ndarray, discount_count: float = DISCOUNT_COUNT) -> np.ndarray:
    """`ln f / (ln f + ln c)` for each count f, in [0, 1); NaN where f is 0; c is above 1."""
    if discount_count <= 1:
        raise ValueError(
            f"discount_count is {discount_count}, expected above 1 (GeneMask: {DISCOUNT_COUNT})"
        )
    count = np.asarray(count, dtype=np.float64)
    log_f = np.log(count, out=np.full(count.shape, np.nan), where=count > 0)
    return log_f / (log_f + np.log(discount_count))


def ranking(
    counts: "NgramCounts",
    k: int,
    *,
    mode: str = "corrected",
    min_count: int = 1,
    discount_count: float = DISCOUNT_COUNT,
) -> pd.DataFrame:
    """One row per ranked k-mer, highest NPMI first, with the published file's score columns.

    Columns: ngram; naive.pmi (against single bases); true.pmi and dp.true.pmi (equal in corrected
    mode; in reference mode against two pieces, and against pieces of one or two bases);
    norm_dp_true_pmi, the score; ngram_size; norm_pmi_rank_rel, 1 for the highest score; count;
    rank_revcomp_merged, the rank by counts of both strands, which a word shares with its reverse
    complement. Equal scores keep the order A, C, G, T.

    Words counted fewer than `min_count` times have no row, nor have words never seen or, in
    reference mode, seen fewer than ten times. Their number is logged and kept in
    `.attrs["n_not_ranked"]`.

    Args:
        counts: orders 1..k at least.
        k: word length, 2..8 bases; in reference mode 3..8.
        mode: "corrected" or "reference", see the head of this module.
        min_count: at least 1.
    """
    _check_order(counts, k)
    _check_mode(mode, k)
    if min_count < 1:
        raise ValueError(
            f"min_count is {min_count}, expected at least 1: an unseen word has no PMI"
        )
    table = _score_table(counts, k, mode, discount_count)
    merged = _score_table(counts.merge_strands(k), k, mode, discount_count)["norm_dp_true_pmi"]
    ranked = ((table["count"] >= min_count) & table["norm_dp_true_pmi"].notna()).to_numpy()
    table["rank_revcomp_merged"] = _merged_ranks(merged.to_numpy(), ranked, k)
    table = table[ranked].sort_values("norm_dp_true_pmi", ascending=False, kind="stable")
    table.insert(6, "norm_pmi_rank_rel", np.arange(1, len(table) + 1))
    table.attrs["n_not_ranked"] = 4**k - len(table)
    if len(table) < 4**k:
        logger.info("%d of %d %d-mers were seen too rarely to rank", 4**k - len(table), 4**k, k)
    return table.reset_index(drop=True)


def rank_table(ranking: pd.DataFrame, k: int) -> np.ndarray:
    """int32[4**k] rank of every k-mer code, 1 = highest score.

    Words without a row rank after all others. (The released look-up gave them 0, better than the
    best.)
    """
    words = _checked(ranking, ("ngram", "norm_pmi_rank_rel"), "rank_table")
    lengths = words["ngram"].str.len()
    if (lengths != k).any():
        raise ValueError(f"rank_table: ngrams of {sorted(set(lengths))} bases, expected all of {k}")
    ranks = np.full(4**k, words["norm_pmi_rank_rel"].max() + 1, dtype=np.int32)
    ranks[_codes_of(words["ngram"])] = words["norm_pmi_rank_rel"]
    return ranks


def reference_scores(
    word_counts: np.ndarray, p1: np.ndarray = PUBLISHED_P1, p2: np.ndarray = PUBLISHED_P2
) -> pd.DataFrame:
    """Scores of every k-mer as GeneMask's code computes them, from k-mer counts alone.

    Columns: ngram, naive.pmi, dp.true.pmi, norm_dp_true_pmi, count; rows in A, C, G, T order; NaN
    scores where the floored count is 0. With the counts of `recover_counts` these are the published
    columns to 1e-12. The published true.pmi needs the probabilities of its three to five bases,
    which are not public; `ranking` in reference mode computes that score from counts.

    Args:
        word_counts: int64[4**k], not yet floored.
        p1: float64[4] and p2: float64[16], probabilities of one and two bases as used: sum 1/2.
    """
    k = round(np.log2(len(word_counts)) / 2)
    word = _log_share(_floor_counts(word_counts), REFERENCE_PROBABILITY_SUM)
    log_p = {1: np.log(p1), 2: np.log(p2)}
    dp = _excess(word, _best_segmentation(log_p, k, REFERENCE_MAX_PIECE))
    return pd.DataFrame(
        {
            "ngram": kmer_strings(k),
            "naive.pmi": _excess(word, _best_segmentation(log_p, k, 1)),
            "dp.true.pmi": dp,
            "norm_dp_true_pmi": dp * frequency_discount(word_counts),
            "count": word_counts,
        }
    )


def read_published_ranking(path: str | Path) -> pd.DataFrame:
    """The published ranking as it is in the file, plain or gzipped: a row per k-mer, best first."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file, expected GeneMask's Data-A_norm-pmi-score-ranking.csv "
            "(or .csv.gz); set GENOMELM_DATA to the folder that holds it"
        )
    published = pd.read_csv(path, dtype={"ngram": str}, keep_default_na=False)
    return _checked(published, PUBLISHED_COLUMNS, str(path))


def recover_counts(published: pd.DataFrame) -> np.ndarray:
    """int64[4**k] counts hidden in a published ranking, A, C, G, T order; 0 for words it lacks.

    With r = norm / dp, the discount, `ln f = r / (1 - r) * ln 101`. Source: the discount, solved
    for f.

    Raises:
        ValueError: a count is not whole to 1e-3: the table was discounted with another c.
    """
    table = _checked(published, ("ngram", "dp.true.pmi", "norm_dp_true_pmi"), "recover_counts")
    discount = (table["norm_dp_true_pmi"] / table["dp.true.pmi"]).to_numpy()
    exact = np.exp(discount / (1 - discount) * np.log(DISCOUNT_COUNT))
    off = np.abs(exact - np.rint(exact))
    if not off.max() < 1e-3:
        worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
        raise ValueError(
            f"recover_counts: {table['ngram'].iloc[worst]} comes out as {exact[worst]:.4f}, "
            f"expected a whole number; is the table discounted with c = {DISCOUNT_COUNT}, and at "
            "full precision?"
        )
    counts = np.zeros(4 ** len(table["ngram"].iloc[0]), dtype=np.int64)
    counts[_codes_of(table["ngram"])] = np.rint(exact).astype(np.int64)
    return counts


def segmentations(k: int, max_piece: int | None = None) -> list[tuple[int, ...]]:
    """Piece lengths of every segmentation of a k-mer into two pieces or more."""
    longest = k - 1 if max_piece is None else min(max_piece, k - 1)
    parts: dict[int, list[tuple[int, ...]]] = {0: [()]}
    for n in range(1, k + 1):
        parts[n] = [(m, *rest) for m in range(1, min(longest, n) + 1) for rest in parts[n - m]]
    return parts[k]


def segmentation_table(
    counts: "NgramCounts", word: str, *, mode: str = "corrected"
) -> pd.DataFrame:
    """Every segmentation of one word with its score, the best (highest sum) first.

    Columns: segmentation ("CC|TCCC"), n_pieces, sum_ln_p, and pmi = ln p(word) - sum_ln_p, whose
    minimum is the word's PMI; NaN where the word was never seen. In reference mode only pieces of
    one or two bases.
    """
    word, k = word.upper(), len(word)
    _check_order(counts, k)
    _check_mode(mode, k)
    log_p = _log_probabilities(counts, k, mode)
    rows = []
    for lengths in segmentations(k, REFERENCE_MAX_PIECE if mode == "reference" else None):
        ends = np.cumsum(lengths)
        pieces = [word[end - n : end] for n, end in zip(lengths, ends, strict=True)]
        rows.append(
            {
                "segmentation": "|".join(pieces),
                "n_pieces": len(pieces),
                "sum_ln_p": sum(float(log_p[len(p)][kmer_index(p)]) for p in pieces),
            }
        )
    table = pd.DataFrame(rows)
    table["pmi"] = _excess(log_p[k][[kmer_index(word)]], table["sum_ln_p"].to_numpy())
    return table.sort_values("sum_ln_p", ascending=False, kind="stable").reset_index(drop=True)


def _score_table(counts: "NgramCounts", k: int, mode: str, discount_count: float) -> pd.DataFrame:
    """The score columns of every k-mer in A, C, G, T order."""
    log_p = _log_probabilities(counts, k, mode)
    if mode == "corrected":
        best = best_two = _best_segmentation(log_p, k, k - 1)
    else:
        best = _best_segmentation(log_p, k, REFERENCE_MAX_PIECE)
        best_two = _best_two_pieces(log_p, k, range(1, k - 1))
    dp = _excess(log_p[k], best)
    return pd.DataFrame(
        {
            "ngram": kmer_strings(k),
            "naive.pmi": _excess(log_p[k], _best_segmentation(log_p, k, 1)),
            "true.pmi": _excess(log_p[k], best_two),
            "dp.true.pmi": dp,
            "norm_dp_true_pmi": dp * frequency_discount(counts.counts[k], discount_count),
            "ngram_size": k,
            "count": counts.counts[k],
        }
    )


def _log_probabilities(counts: "NgramCounts", k: int, mode: str) -> dict[int, np.ndarray]:
    """For n = 1..k the float64[4**n] ln p of every word, -inf where it has none."""
    if mode == "corrected":
        return {n: _log_share(counts.counts[n], 1.0) for n in range(1, k + 1)}
    return {
        n: _log_share(_floor_counts(counts.counts[n]), REFERENCE_PROBABILITY_SUM)
        for n in range(1, k + 1)
    }


def _floor_counts(table: np.ndarray) -> np.ndarray:
    return table // REFERENCE_COUNT_STEP


def _log_share(table: np.ndarray, probability_sum: float) -> np.ndarray:
    """ln of each count's share of the total, the shares adding up to `probability_sum`."""
    total = table.sum()
    if total == 0:
        raise ValueError(
            f"none of {len(table):,} words is counted often enough to score, expected at least "
            f"one (in reference mode seen {REFERENCE_COUNT_STEP} times); count a longer sequence"
        )
    share = table * (probability_sum / total)
    assert np.isclose(share.sum(), probability_sum, rtol=1e-12, atol=0)
    return np.log(share, out=np.full(share.shape, -np.inf), where=share > 0)


def _best_segmentation(log_p: Mapping[int, np.ndarray], k: int, max_piece: int) -> np.ndarray:
    """float64[4**k] largest sum of ln p over the segmentations into pieces of 1..max_piece bases.

    The last piece of a prefix has n bases; what precedes it is a shorter prefix, solved before.
    """
    best = {0: np.zeros(1)}
    for i in range(1, k + 1):
        best[i] = np.full(4**i, -np.inf)
        for n in range(1, min(i, max_piece) + 1):
            with_last_piece = best[i - n][:, None] + log_p[n][None, :]
            np.maximum(best[i], with_last_piece.ravel(), out=best[i])
    return best[k]


def _best_two_pieces(log_p: Mapping[int, np.ndarray], k: int, cuts: range) -> np.ndarray:
    """float64[4**k] largest ln p(w[:cut]) + ln p(w[cut:]) over the given cuts."""
    return np.max([np.add.outer(log_p[cut], log_p[k - cut]).ravel() for cut in cuts], axis=0)


def _excess(log_word: np.ndarray, log_pieces: np.ndarray) -> np.ndarray:
    """ln p(word) minus the pieces' sum; NaN where the word has no probability."""
    seen = np.isfinite(log_word)
    return np.subtract(log_word, log_pieces, out=np.full(np.shape(log_pieces), np.nan), where=seen)


def _merged_ranks(score: np.ndarray, ranked: np.ndarray, k: int) -> np.ndarray:
    """int64[4**k] rank of each reverse-complement pair among those with a ranked member."""
    pair = np.minimum(np.arange(4**k), revcomp_codes(k))
    pairs = np.unique(pair[ranked])
    ranks = np.zeros(4**k, dtype=np.int64)
    ranks[pairs[np.argsort(-score[pairs], kind="stable")]] = np.arange(1, len(pairs) + 1)
    return ranks[pair]


def _codes_of(ngrams: pd.Series) -> np.ndarray:
    """int32[N] code of each word; all have one length."""
    k = len(ngrams.iloc[0])
    return kmer_codes(encode("".join(ngrams), where="ngram").reshape(-1, k), k)[:, 0]


def _checked(table: pd.DataFrame, columns: Sequence[str], where: str) -> pd.DataFrame:
    missing = [column for column in columns if column not in table.columns]
    if missing or table.empty:
        raise ValueError(
            f"{where}: columns {missing} are missing or the table is empty (found "
            f"{len(table)} rows of {list(table.columns)}), expected a ranking as `pmi.ranking` or "
            "GeneMask makes it"
        )
    return table


def _check_order(counts: "NgramCounts", k: int) -> None:
    if not 2 <= k <= MAX_K:
        raise ValueError(f"k is {k}, expected 2..{MAX_K}")
    if counts.n_max < k:
        raise ValueError(
            f"counts reach words of {counts.n_max} bases, expected at least k = {k}; "
            f"count with n_max={k}"
        )
    if not counts.counts[k].any():
        raise ValueError(
            f"no word of {k} bases was counted ({counts.n_bases} definite bases), expected some; "
            "is every run shorter than k, or the sequence all N?"
        )


def _check_mode(mode: str, k: int) -> None:
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(MODES)}")
    if mode == "reference" and k < 3:
        raise ValueError(
            f"k is {k}, expected 3..{MAX_K} in reference mode: k = 2 has no cut it would try"
        )
