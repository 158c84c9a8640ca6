"""Importance of places in a promoter: replace a k-mer by another, and see how predictions move.

A plan of flips is made first, for all k together, then run through any model in one go. Two rules:

corrected   every flip is a real change, and its place is the offset of its first base from the TSS
            (`sequences.tss`), so promoters of different lengths line up where it matters. The same
            promoters and the same random numbers serve all places and all k: differences between
            them are not differences between promoters.
reference   FloraBERT's: one flip per promoter and k at a random place counted from the 5' end, the
            replacement drawn from all 4**k words, so that 4**-k of the flips change nothing.

Importance is the mean of |y' - y| over flips and tissues, on the scale the model predicts.
Source: Levy et al. 2022 (FloraBERT, doi 10.21203/rs.3.rs-1927200/v1), methods and released
`positional_importance.py`.

Shapes: S promoters, N flips, T tissues.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import N_BASES, decode
from genomelm_utils.sequences.kmers import kmer_codes
from genomelm_utils.sequences.tss import Gaps, distance_of, fill_gaps, index_of

logger = logging.getLogger(__name__)

#: Base codes of promoters -> predictions float32 [S, T]; each row must depend on its own promoter.
Predict = Callable[[list[np.ndarray]], np.ndarray]

RULES = ("corrected", "reference")
DESIGNS = ("stratified", "exhaustive")
KS = (1, 2, 3, 4, 5, 6)
SPAN_BP = 1000  # how far upstream promoters reach. Source: FloraBERT, released 02-download script
MAX_FLIPS = 50_000_000  # a plan of more would not fit into memory
FLIP_COLUMNS = ("promoter", "k", "start", "distance_bp", "old", "new")


def on_text(predict: Callable[[list[str]], np.ndarray]) -> Predict:
    """A model of text as a model of base codes, for all functions here."""
    return lambda codes: predict([decode(one) for one in codes])


def plan_flips(
    codes: Sequence[np.ndarray],
    seed: int,
    *,
    ks: Sequence[int] = KS,
    gap_bp: Gaps = None,
    rule: str = "corrected",
    design: str = "stratified",
    span_bp: int = SPAN_BP,
    promoters_per_place: int = 50,
    flips_per_place: int = 2,
) -> pd.DataFrame:
    """Flips to run, one per row: promoter, k, start, distance_bp, old, new.

    promoter: index into codes. start: index of the first base. distance_bp: its offset from the TSS
    (reference: of the same base; its own index is `start`). old, new: codes of the k-mers, see
    `sequences.kmers`; old is -1 (reference only) where it holds an N.

    Stratified: each place within `span_bp` gets the same promoters, as far as they reach there, the
    first `promoters_per_place` of a random order, and each of these `flips_per_place` times.
    Exhaustive: every promoter, every place, every other word: 4**k - 1 per place (3 for k = 1).
    A k-mer with an N is no word: such flips are left out and counted in the log, as are promoters
    shorter than k.

    Args:
        codes: base codes of promoters of any lengths. seed: all draws hang on it alone.
        gap_bp: bases between the right ends and the TSS. rule: one of `RULES`; the reference has
            its own design, so `design` and the numbers per place do not apply.
        span_bp: how far from the TSS (reference: from the 5' end) flips are made.
    Raises: ValueError for settings out of range, or when nothing can be flipped.
    """
    _check_plan(codes, ks, rule, design, span_bp, promoters_per_place, flips_per_place)
    lengths_S = np.array([len(one) for one in codes], dtype=np.int64)
    gaps_S = fill_gaps(gap_bp, len(codes))
    if rule == "reference":
        flips = _reference_flips(codes, lengths_S, gaps_S, ks, span_bp, seed)
    else:
        sizes = (None, None) if design == "exhaustive" else (promoters_per_place, flips_per_place)
        flips = _corrected_flips(codes, lengths_S, gaps_S, ks, span_bp, *sizes, seed)
    if flips.empty:
        raise ValueError(
            f"no promoter of {len(codes)} (lengths {lengths_S.min()} to {lengths_S.max()}) has a "
            f"place to flip a word of {min(ks)} bases within {span_bp} bp; check k, span and gaps"
        )
    return flips


def run_flips(
    predict: Predict,
    codes: Sequence[np.ndarray],
    flips: pd.DataFrame,
    *,
    batch_rows: int = 512,
) -> np.ndarray:
    """Change of the prediction by each flip, y' - y: float32 [N, T].

    All k run together, in batches of `batch_rows` promoters; what is held at a time is one batch.
    The promoters as they are go through the model once each.

    Raises: ValueError when the model returns another number of rows, or what is not finite.
    """
    if batch_rows < 1:
        raise ValueError(f"batch_rows is {batch_rows}, expected at least 1")
    promoter_N = flips["promoter"].to_numpy()
    used, row_N = np.unique(promoter_N, return_inverse=True)
    plain_ST = _predict_in_batches(predict, (codes[i] for i in used), len(used), batch_rows)
    flipped = _flipped(codes, flips)
    changed_NT = _predict_in_batches(predict, flipped, len(flips), batch_rows)
    changed_NT -= plain_ST[row_N]
    return changed_NT


def flip(codes: np.ndarray, start: int, k: int, new: int) -> np.ndarray:
    """A copy of a promoter with the k-mer at `start` replaced by the word of code `new`."""
    changed = codes.copy()
    changed[start : start + k] = (new >> 2 * np.arange(k - 1, -1, -1)) & (N_BASES - 1)
    return changed


def score_places(
    flips: pd.DataFrame, change_NT: np.ndarray, *, rule: str = "corrected"
) -> pd.DataFrame:
    """Importance of each place for each k, with its standard error.

    One row per k and place: k, distance_bp, importance (mean of |y' - y| over promoters and
    tissues), se, n_promoters, n_flips. Flips of one promoter at one place are averaged first, since
    they are not independent; se is over promoters, NaN where there is one. Under the reference rule
    the place is `start`, counted from the 5' end, in place of `distance_bp`.
    """
    check_rule(rule)
    check_changes(flips, change_NT)
    place = "distance_bp" if rule == "corrected" else "start"
    moved = flips[["promoter", "k", place]].assign(moved=np.abs(change_NT).mean(1))
    per_promoter = moved.groupby(["k", place, "promoter"], sort=True)["moved"]
    means = per_promoter.agg(["mean", "size"]).reset_index()
    found = means.groupby(["k", place], sort=True).agg(
        importance=("mean", "mean"),
        se=("mean", "sem"),
        n_promoters=("promoter", "size"),
        n_flips=("size", "sum"),
    )
    return found.reset_index()


def _corrected_flips(
    codes: Sequence[np.ndarray],
    lengths_S: np.ndarray,
    gaps_S: np.ndarray,
    ks: Sequence[int],
    span_bp: int,
    promoters_per_place: int | None,
    flips_per_place: int | None,
    seed: int,
) -> pd.DataFrame:
    """Real changes by distance from the TSS; None for both sizes: all promoters, all words."""
    order_S = np.random.default_rng([seed, 0]).permutation(len(codes))
    nearest = int(distance_of(lengths_S - 1, lengths_S, gaps_S).max())
    distances_D = np.arange(-span_bp, nearest + 1)
    parts, n_ambiguous = [], 0
    for k in ks:
        start_SD = index_of(distances_D, lengths_S[order_S, None], gaps_S[order_S, None])
        reach_SD = (start_SD >= 0) & (start_SD + k <= lengths_S[order_S, None])
        if promoters_per_place is not None:
            reach_SD &= np.cumsum(reach_SD, axis=0) <= promoters_per_place
        row_P, column_P = np.nonzero(reach_SD)
        chosen = pd.DataFrame(
            {
                "promoter": order_S[row_P],
                "k": k,
                "start": start_SD[row_P, column_P],
                "distance_bp": distances_D[column_P],
            }
        )
        chosen["old"] = words_at(codes, chosen["promoter"], chosen["start"], k)
        known = chosen["old"] >= 0
        n_ambiguous += int((~known).sum())
        parts.append(_draw_words(chosen[known], k, flips_per_place, seed))
    if n_ambiguous:
        logger.info("%d places hold an N and were not flipped", n_ambiguous)
    return pd.concat(parts, ignore_index=True)[list(FLIP_COLUMNS)]


def _draw_words(
    chosen: pd.DataFrame, k: int, flips_per_place: int | None, seed: int
) -> pd.DataFrame:
    """Each place with its new words: any but the old one, all equally likely (None: all of them).

    The random number of a flip depends on the promoter, the distance and the repeat, not on k: the
    first base of a longer word is, but for rounding, drawn like a shorter word.
    """
    n_others = N_BASES**k - 1
    repeats = n_others if flips_per_place is None else flips_per_place
    if len(chosen) * repeats > MAX_FLIPS:
        raise ValueError(
            f"{len(chosen):,} places of {k}-mers with {repeats:,} flips each are more than "
            f"{MAX_FLIPS:,}; take the stratified design, fewer promoters or a shorter span"
        )
    repeated = chosen.loc[chosen.index.repeat(repeats)].reset_index(drop=True)
    repeat_N = np.tile(np.arange(repeats), len(chosen))
    if flips_per_place is None:
        other_N = repeat_N
    else:
        share_N = _uniform(seed, repeated["promoter"], repeated["distance_bp"], repeat_N)
        other_N = (share_N * n_others).astype(np.int64)
    return repeated.assign(new=other_N + (other_N >= repeated["old"]))


def _uniform(seed: int, *keys: Sequence[int]) -> np.ndarray:
    """A number in [0, 1) for each row of keys, always the same for the same seed and row.

    Source: finaliser of SplitMix64, Steele, Lea & Flood 2014 (doi 10.1145/2660193.2660195).
    """
    state_N = np.full(len(keys[0]), seed, dtype=np.uint64)
    for key in keys:
        state_N += np.asarray(key).astype(np.int64).astype(np.uint64)
        state_N += np.uint64(0x9E3779B97F4A7C15)
        state_N = (state_N ^ (state_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state_N = (state_N ^ (state_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state_N ^= state_N >> np.uint64(31)
    return (state_N >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _reference_flips(
    codes: Sequence[np.ndarray],
    lengths_S: np.ndarray,
    gaps_S: np.ndarray,
    ks: Sequence[int],
    span_bp: int,
    seed: int,
) -> pd.DataFrame:
    """One flip per promoter and k: start uniform in [0, min(span, L) - k], any of 4**k words."""
    parts = []
    for k in ks:
        rng = np.random.default_rng([seed, k])
        promoters = np.flatnonzero(np.minimum(lengths_S, span_bp) >= k)
        if len(promoters) < len(codes):
            short = len(codes) - len(promoters)
            logger.info("%d promoters are shorter than k = %d: not flipped", short, k)
        last = np.minimum(lengths_S[promoters], span_bp) - k
        start = rng.integers(0, last + 1)
        part = pd.DataFrame({"promoter": promoters, "k": k, "start": start})
        part["distance_bp"] = distance_of(start, lengths_S[promoters], gaps_S[promoters])
        part["old"] = words_at(codes, promoters, start, k)
        part["new"] = rng.integers(0, N_BASES**k, len(promoters))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)[list(FLIP_COLUMNS)]


def words_at(
    codes: Sequence[np.ndarray], promoter_N: Sequence[int], start_N: Sequence[int], k: int
) -> np.ndarray:
    """Codes of the k-mers at these places, int64 [N]; -1 for one with an N."""
    joined = np.concatenate(list(codes))
    first_S = np.concatenate([[0], np.cumsum([len(one) for one in codes])])
    words = kmer_codes(joined, k)
    return words[first_S[np.asarray(promoter_N)] + np.asarray(start_N)].astype(np.int64)


def _flipped(codes: Sequence[np.ndarray], flips: pd.DataFrame):
    """The flipped promoters, one after the other."""
    columns = (flips[name].to_numpy() for name in ("promoter", "start", "k", "new"))
    for promoter, start, k, new in zip(*columns, strict=True):
        yield flip(codes[promoter], start, k, new)


def _predict_in_batches(predict: Predict, promoters, n: int, batch_rows: int) -> np.ndarray:
    """Predictions float32 [n, T] of an iterable of n promoters."""
    out, batch, done = None, [], 0
    for promoter in promoters:
        batch.append(promoter)
        if len(batch) < batch_rows and done + len(batch) < n:
            continue
        found = np.asarray(predict(batch), dtype=np.float32)
        if found.ndim != 2 or len(found) != len(batch) or not np.isfinite(found).all():
            raise ValueError(
                f"the model gave {found.shape} for {len(batch)} promoters, expected finite numbers "
                "[promoters, tissues]"
            )
        if out is None:
            out = np.empty((n, found.shape[1]), dtype=np.float32)
        out[done : done + len(batch)] = found
        done, batch = done + len(batch), []
    return out


def _check_plan(codes, ks, rule, design, span_bp, promoters_per_place, flips_per_place) -> None:
    check_rule(rule)
    if design not in DESIGNS:
        raise ValueError(f"design is {design!r}, expected one of {', '.join(DESIGNS)}")
    numbers = {
        "span_bp": span_bp,
        "promoters_per_place": promoters_per_place,
        "flips_per_place": flips_per_place,
        "the number of promoters": len(codes),
        "the number of ks": len(ks),
        "the smallest k": min(ks, default=1),
    }
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1")


def check_rule(rule: str) -> None:
    """ValueError for an unknown rule."""
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, expected one of {', '.join(RULES)}")


def check_changes(flips: pd.DataFrame, change_NT: np.ndarray) -> None:
    """ValueError unless there is one row of changes per flip."""
    if change_NT.ndim != 2 or len(change_NT) != len(flips):
        raise ValueError(
            f"changes have shape {change_NT.shape} for {len(flips)} flips, expected a row for each"
        )
