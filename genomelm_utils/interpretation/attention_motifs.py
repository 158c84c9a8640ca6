"""Motifs from attention: stretches that [CLS] looks at, enriched in positive sequences, merged.

The steps are DNABERT's `find_motifs`: high stretches of positive rows, a hypergeometric test of
each word, merging of words that overlap, windows of equal width. Two rules:

corrected   a window may end with the sequence; a word is counted in its best key only
reference   a window that ends with the sequence is dropped

Words are chosen in the positive rows they are then tested in, so p-values are optimistic: they
rank words, they are no evidence by themselves.

Source: DNABERT (Ji et al. 2021, Bioinformatics 37:2112), methods and released scripts.

Shapes: S sequences, L bases, W bases of a window, M words.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import N_BASES, decode
from genomelm_utils.sequences.kmers import MAX_K, kmer_codes, kmer_index

logger = logging.getLogger(__name__)

RULES = ("corrected", "reference")
# Source: released `find_motifs.py`, defaults
MIN_LEN, WINDOW_BP, MIN_INSTANCES, CUTOFF = 5, 24, 3, 0.005
MIN_RATIO = 10.0  # high is also ten times the lowest score of the sequence
WORD_COLUMNS = ("word", "n_rows", "n_positive", "p_value", "q_value")


@dataclass(frozen=True)
class AttentionMotif:
    """word: the shortest of the merged words. windows: sequence, start, end, word (what was high),
    bases. counts: float64 [W, 4] of the windows. q_value: of `word`."""

    word: str
    windows: pd.DataFrame
    counts: np.ndarray
    q_value: float


def find_attention_motifs(
    codes: Sequence[np.ndarray],
    labels: Sequence[int],
    scores: Sequence[np.ndarray],
    *,
    positive: int = 1,
    min_len: int = MIN_LEN,
    window_bp: int = WINDOW_BP,
    min_instances: int = MIN_INSTANCES,
    cutoff: float = CUTOFF,
    rule: str = "corrected",
) -> tuple[list[AttentionMotif], pd.DataFrame]:
    """(motifs, most instances first; the table of all tested words, see `count_enrichment`).

    scores: per base, of `attention_scores` or any attribution; a score vector of another length
    than its sequence is an error that names it. cutoff: on q-values (Benjamini-Hochberg).
    Raises: ValueError for options out of range, no positive or no other sequence.
    """
    labels_S = np.asarray(labels)
    _check(codes, labels_S, scores, positive, min_len, window_bp, rule)
    regions = high_regions(scores, np.flatnonzero(labels_S == positive), min_len)
    words = [decode(np.asarray(codes[r.sequence])[r.start : r.end]) for r in regions.itertuples()]
    regions = regions.assign(word=words)
    tested = count_enrichment(sorted(set(words)), codes, labels_S == positive)
    kept = tested[tested["q_value"] < cutoff]
    logger.info("%d high stretches, %d words, %d enriched", len(regions), len(tested), len(kept))
    merged = merge_words(regions[regions["word"].isin(kept["word"])], min_len)
    q_of = dict(zip(tested["word"], tested["q_value"], strict=True))
    motifs = []
    for word, found in merged.items():
        windows = make_windows(found, codes, window_bp, rule)
        if len(windows) >= min_instances:
            counts = count_bases(windows["bases"], window_bp)
            motifs.append(AttentionMotif(word, windows, counts, q_of[word]))
    motifs.sort(key=lambda one: (-len(one.windows), one.word))
    return motifs, tested


def high_regions(
    scores: Sequence[np.ndarray], used: np.ndarray, min_len: int = MIN_LEN
) -> pd.DataFrame:
    """Maximal stretches of high scores: sequence, start, end.

    High: above the sequence's mean and above ten times its lowest score.
    """
    rows = []
    for s in used.tolist():
        score_L = np.asarray(scores[s], dtype=np.float64)
        high_L = (score_L > score_L.mean()) & (score_L > MIN_RATIO * score_L.min())
        edges = np.flatnonzero(np.diff(np.concatenate([[0], high_L.astype(np.int8), [0]])))
        for start, end in edges.reshape(-1, 2).tolist():
            if end - start >= min_len:
                rows.append((s, start, end))
    return pd.DataFrame(rows, columns=["sequence", "start", "end"], dtype=np.int64)


def count_enrichment(
    words: Sequence[str], codes: Sequence[np.ndarray], positive_S: np.ndarray
) -> pd.DataFrame:
    """Hypergeometric test of each word: word, n_rows, n_positive, p_value, q_value.

    n_rows, n_positive: sequences (positive ones) that hold the word at least once. p_value: chance
    of as many positive ones among n_rows drawn from all. Words with ambiguous bases are in no
    sequence (n_rows 0, p 1).
    """
    from scipy.stats import false_discovery_control, hypergeom

    holds_MS = find_words(words, codes)
    n_rows_M, n_positive_M = holds_MS.sum(1), holds_MS[:, positive_S].sum(1)
    p_M = hypergeom.sf(n_positive_M - 1, len(codes), int(positive_S.sum()), n_rows_M)
    q_M = false_discovery_control(p_M) if len(p_M) else p_M
    columns = (list(words), n_rows_M, n_positive_M, p_M, q_M)
    table = pd.DataFrame(dict(zip(WORD_COLUMNS, columns, strict=True)))
    return table.sort_values(["p_value", "word"], ignore_index=True)


def find_words(words: Sequence[str], codes: Sequence[np.ndarray]) -> np.ndarray:
    """bool [M, S]: which sequence holds which word. One pass per length of words."""
    holds_MS = np.zeros((len(words), len(codes)), dtype=bool)
    lengths = np.array([len(word) for word in words], dtype=np.int64)
    plain = np.array([set(word) <= set("ACGT") for word in words], dtype=bool)
    texts: list[str] = []
    for length in np.unique(lengths):
        chosen_M = np.flatnonzero((lengths == length) & plain)
        if length <= MAX_K and len(chosen_M):
            wanted = np.array([kmer_index(words[m]) for m in chosen_M])
            order = np.argsort(wanted)
            for s, one in enumerate(codes):
                there = np.unique(kmer_codes(np.asarray(one), int(length)))
                holds_MS[chosen_M[order], s] = np.isin(wanted[order], there)
            continue
        texts = texts or [decode(np.asarray(one)) for one in codes]
        for m in chosen_M:
            holds_MS[m] = [words[m] in text for text in texts]
    return holds_MS


def merge_words(regions: pd.DataFrame, min_len: int = MIN_LEN) -> dict[str, pd.DataFrame]:
    """Key word -> its regions: sequence, start, end, word; start and end are those of the key.

    Words by increasing length. A word joins the key it matches best without gaps, if at least
    max(min_len - 1, half the shorter of the two) bases match; its places are then those of the key
    on the same sequence. Else it becomes a key itself.
    """
    merged: dict[str, list[pd.DataFrame]] = {}
    by_word = dict(list(regions.groupby("word")))
    for word in sorted(by_word, key=lambda one: (len(one), one)):
        best, best_key, best_offset = 0, "", 0
        for key in merged:
            matches, offset = align_ungapped(word, key)
            if matches > best and matches >= max(min_len - 1, min(len(word), len(key)) / 2):
                best, best_key, best_offset = matches, key, offset
        found = by_word[word]
        if best_key:
            start = found["start"] + best_offset
            found = found.assign(start=start, end=start + len(best_key))
        merged.setdefault(best_key or word, []).append(found)
    return {key: pd.concat(parts, ignore_index=True) for key, parts in merged.items()}


def align_ungapped(word: str, key: str) -> tuple[int, int]:
    """(most equal bases, place of the key's first base in the word) over all shifts."""
    a, b = np.frombuffer(word.encode(), np.uint8), np.frombuffer(key.encode(), np.uint8)
    matches = sum(
        np.convolve((a == base).astype(int), (b == base)[::-1].astype(int)) for base in b"ACGT"
    )
    best = int(np.argmax(matches))
    return int(matches[best]), best - len(key) + 1


def make_windows(
    regions: pd.DataFrame, codes: Sequence[np.ndarray], window_bp: int, rule: str = "corrected"
) -> pd.DataFrame:
    """Windows of `window_bp` around the regions: sequence, start, end, word, bases.

    Equal parts on both sides, the odd base on the right. Windows that leave their sequence are
    dropped (reference: also those that end with it), and equal windows are kept once.
    """
    length_N = regions["end"] - regions["start"]
    start_N = regions["start"] - (window_bp - length_N) // 2
    windows = regions.assign(start=start_N, end=start_N + window_bp)
    lengths_N = np.array([len(codes[s]) for s in windows["sequence"]], dtype=np.int64)
    last_N = lengths_N - (rule == "reference")
    inside = (windows["start"] >= 0) & (windows["end"] <= last_N)
    windows = windows[inside].drop_duplicates(["sequence", "start"]).reset_index(drop=True)
    bases = [decode(np.asarray(codes[w.sequence])[w.start : w.end]) for w in windows.itertuples()]
    return windows.assign(bases=bases)


def count_bases(windows: Sequence[str], width: int) -> np.ndarray:
    """float64 [W, 4] of equally long texts; ambiguous bases count nowhere."""
    letters = np.array([list(one) for one in windows]).reshape(-1, width)
    return np.stack([(letters == base).sum(0) for base in "ACGT"[:N_BASES]], axis=1).astype(float)


def _check(codes, labels_S, scores, positive, min_len, window_bp, rule) -> None:
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, expected {' or '.join(RULES)}")
    if min_len < 1 or window_bp < min_len:
        raise ValueError(f"min_len is {min_len}, window_bp {window_bp}: expected 1 or more, and no "
                         "window below the shortest stretch")  # fmt: skip
    if not len(codes) == len(labels_S) == len(scores):
        raise ValueError(f"{len(codes)} sequences, {len(labels_S)} labels, {len(scores)} scores; "
                         "expected as many of each")  # fmt: skip
    n_positive = int((labels_S == positive).sum())
    if not 0 < n_positive < len(labels_S):
        raise ValueError(f"{n_positive} of {len(labels_S)} sequences have label {positive}; the "
                         "test needs positive and other ones")  # fmt: skip
    for s, (one, score) in enumerate(zip(codes, scores, strict=True)):
        if len(one) != len(score):
            raise ValueError(
                f"sequence {s} has {len(one)} bases and {len(score)} scores, expected a score per "
                "base; take the corrected rule of attention_scores"
            )
