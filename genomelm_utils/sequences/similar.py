"""Compiled search for sequences that resemble each other, on either strand.

Words of k bases that two sequences share on about the same diagonal make a candidate; a banded
local alignment decides. Identity is that of MMseqs2: equal bases over columns of the alignment,
which must cover a given share of both sequences.

Shape suffixes: S sequences, L bases of all of them end to end, P positions kept in the index.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from genomelm_utils.sequences.alphabet import N_BASES, reverse_complement

# Scores of the alignment. Source: MMseqs2 user guide (nucleotides: match 2, mismatch -3, gap 5, 2).
MATCH, MISMATCH, GAP_OPEN, GAP_EXTEND = 2, -3, 5, 2
# A word should be met by chance a few times at most: 9 bases up to 1 Mb, one more per factor of 4.
_MIN_WORD_BP, _MAX_WORD_BP = 9, 13
_CHANCE_HITS = 8
# Shared words on one band that make a candidate: at least this part of those expected at the
# identity and coverage asked for (1,000 bases at 80 %: 107 of 9, so 16), and at least 3, of which
# two may be met by chance; below 60 bases one per 20.
HITS_SHARE, MIN_HITS, _BASES_PER_HIT = 0.15, 3, 20
BAND_SHARE = 0.05  # diagonals to either side, of the shorter length; at least MIN_BAND
MIN_BAND = 8
_LOW_PERIOD = 3  # words that repeat with this period or less say nothing: poly-A, microsatellites
_MAX_BP = (1 << 15) - 1  # of a sequence: places and columns are packed, see `align_banded`
_DIAGONALS = 1 << 16  # more than two such sequences have
_EQUAL = 1 << 16  # one more equal base, in a packed path


class WordIndex(NamedTuple):
    """Where every word stands. `first` int64[4**k + 1] points into `place` (positions of the joined
    bases, int64[P], by word); `word` int32[L] is the canonical word at every position or -1;
    `turned` bool[L], whether it is the reverse complement of what stands there."""

    codes: np.ndarray
    other: np.ndarray  # the reverse complement of every sequence, in the same places
    starts: np.ndarray
    owner: np.ndarray
    word: np.ndarray
    turned: np.ndarray
    first: np.ndarray
    place: np.ndarray
    k: int


def build_index(sequences: list[np.ndarray]) -> WordIndex:
    """The index of base codes, a list of uint8 arrays. Words with an ambiguous base and words
    of low complexity are not in it. Raises ValueError for a sequence of more than 32,767 bases."""
    lengths = np.array([len(one) for one in sequences], dtype=np.int64)
    if lengths.max(initial=0) > _MAX_BP:
        row = int(np.argmax(lengths))
        raise ValueError(
            f"sequence {row} has {lengths[row]} bases, expected {_MAX_BP} at most: "
            "similar sequences are searched for among promoters, not contigs"
        )
    starts = np.concatenate([[0], np.cumsum(lengths)])
    nothing = np.empty(0, dtype=np.uint8)
    codes = np.concatenate([nothing, *sequences])
    other = np.concatenate([nothing, *[reverse_complement(one) for one in sequences]])
    k = choose_word_bp(len(codes))
    word, turned = _canonical_words(codes, starts, k)
    kept = np.flatnonzero(word >= 0)
    place = kept[np.argsort(word[kept], kind="stable")]
    n_words = np.bincount(word[kept], minlength=4**k)
    first = np.concatenate([[0], np.cumsum(n_words)])
    owner = np.repeat(np.arange(len(lengths)), lengths)
    return WordIndex(codes, other, starts, owner, word, turned, first, place, k)


def choose_word_bp(n_bases: int) -> int:
    """Bases per word for this many bases altogether."""
    k = _MIN_WORD_BP
    while n_bases / (4**k / 2) > _CHANCE_HITS and k < _MAX_WORD_BP:
        k += 1
    return k


@njit(cache=True)
def _canonical_words(codes, starts, k):
    """The lesser of the word and its reverse complement at every position, and which it is."""
    n = codes.shape[0]
    word = np.full(n, -1, np.int32)
    turned = np.zeros(n, np.bool_)
    mask = (1 << (2 * k)) - 1
    for s in range(starts.shape[0] - 1):
        forward, backward, n_definite = 0, 0, 0
        runs = np.zeros(_LOW_PERIOD + 1, np.int64)  # bases in a row equal to the one p before
        for i in range(starts[s], starts[s + 1]):
            code = np.int64(codes[i])
            if code >= N_BASES:
                n_definite = 0
                continue
            forward = ((forward << 2) | code) & mask
            backward = (backward >> 2) | ((3 - code) << (2 * (k - 1)))
            n_definite += 1
            low = False
            for p in range(1, _LOW_PERIOD + 1):
                same = n_definite > p and codes[i - p] == codes[i]
                runs[p] = runs[p] + 1 if same else 0
                low |= runs[p] >= k - p
            if n_definite >= k and not low:
                at = i - k + 1
                word[at] = min(forward, backward)
                turned[at] = backward < forward
    return word, turned


@njit(cache=True)
def align_banded(a, b, diagonal, band):
    """The best local alignment of two sequences within `band` of a diagonal (place in b minus place
    in a): (identity, covered share of a, covered share of b). Gaps are affine; N equals nothing.

    Every state is a score and a path: where it began in a and in b, equal bases, columns, packed
    into one number (15, 15, 16 and 16 bits), so that nothing has to be traced back.
    Source: Gotoh 1982, J. Mol. Biol. 162:705.
    """
    n_a, n_b = a.shape[0], b.shape[0]
    width = 2 * band + 1
    low = -(1 << 30)
    h_score, h_path = np.full(width + 1, low, np.int64), np.zeros(width + 1, np.int64)
    f_score, f_path = np.full(width + 1, low, np.int64), np.zeros(width + 1, np.int64)
    best, best_path, best_i, best_j = 0, np.int64(0), -1, -1
    for i in range(n_a):
        first = max(0, band - diagonal - i)
        last = min(width, n_b + band - diagonal - i)
        if last <= 0:
            break
        e_score, e_path = low, np.int64(0)
        for w in range(width):
            if w < first or w >= last:
                h_score[w], f_score[w] = low, low
                continue
            j = i + diagonal - band + w
            # the row before, same place in b (a gap in b), stands at w + 1
            opened, extended = h_score[w + 1] - GAP_OPEN, f_score[w + 1] - GAP_EXTEND
            f_path[w] = (h_path[w + 1] if opened >= extended else f_path[w + 1]) + 1
            f_score[w] = max(opened, extended)
            same = a[i] == b[j] and a[i] < N_BASES
            if h_score[w] > 0:
                score, path = h_score[w], h_path[w]
            else:
                score, path = 0, (np.int64(i) << 47) | (np.int64(j) << 32)
            score += MATCH if same else MISMATCH
            path += _EQUAL + 1 if same else 1
            if f_score[w] > score:
                score, path = f_score[w], f_path[w]
            if e_score > score:
                score, path = e_score, e_path
            if score > best:
                best, best_path, best_i, best_j = score, path, i, j
            h_score[w], h_path[w] = score, path
            opened, extended = score - GAP_OPEN, e_score - GAP_EXTEND
            e_path = (path if opened >= extended else e_path) + 1
            e_score = max(opened, extended)
    if best_i < 0:
        return 0.0, 0.0, 0.0
    n_equal, n_columns = (best_path >> 16) & 0xFFFF, best_path & 0xFFFF
    begin_i, begin_j = best_path >> 47, (best_path >> 32) & 0x7FFF
    return n_equal / n_columns, (best_i - begin_i + 1) / n_a, (best_j - begin_j + 1) / n_b


@njit(cache=True)
def _collect_hits(index, row, blocked, coverage):
    """Words shared with sequences not blocked, as sorted keys: target, strand, diagonal."""
    begin, end = index.starts[row], index.starts[row + 1]
    n_row = end - begin
    n = 0
    for at in range(begin, end):
        w = index.word[at]
        if w >= 0:
            n += index.first[w + 1] - index.first[w]
    keys = np.empty(n, np.int64)
    n = 0
    for at in range(begin, end):
        w = index.word[at]
        if w < 0:
            continue
        for i in range(index.first[w], index.first[w + 1]):
            place = index.place[i]
            target = index.owner[place]
            if target == row or blocked[target]:
                continue
            n_target = index.starts[target + 1] - index.starts[target]
            if min(n_target, n_row) < coverage * max(n_target, n_row):
                continue
            inside = place - index.starts[target]
            other = np.int64(index.turned[at] != index.turned[place])
            if other:
                inside = n_target - index.k - inside
            diagonal = inside - (at - begin) + _DIAGONALS // 2
            keys[n] = (2 * target + other) * _DIAGONALS + diagonal
            n += 1
    return np.sort(keys[:n])


@njit(cache=True)
def find_similar(index, row, blocked, identity, coverage):
    """Sequences similar to sequence `row` that are not blocked (bool[S]).

    Returns (targets int64[n], on the other strand bool[n], identity float64[n]), targets in order,
    each once (on the strand where it is more alike).
    """
    keys = _collect_hits(index, row, blocked, coverage)
    a = index.codes[index.starts[row] : index.starts[row + 1]]
    targets = np.empty(keys.shape[0], np.int64)
    strands = np.empty(keys.shape[0], np.bool_)
    alike = np.empty(keys.shape[0], np.float64)
    expected = coverage * identity**index.k  # shared words per base
    n_found = 0
    begin = 0
    while begin < keys.shape[0]:
        group = keys[begin] // _DIAGONALS
        end = begin
        while end < keys.shape[0] and keys[end] // _DIAGONALS == group:
            end += 1
        target, other = group // 2, group % 2 == 1
        start, stop = index.starts[target], index.starts[target + 1]
        shorter = min(stop - start, a.shape[0])
        band = max(MIN_BAND, np.int64(BAND_SHARE * shorter))
        # the stretch of `band` diagonals with most hits
        left, most, at = begin, 0, begin
        for right in range(begin, end):
            while keys[right] - keys[left] > band:
                left += 1
            if right - left + 1 > most:
                most, at = right - left + 1, left
        needed = max(1, min(MIN_HITS, shorter // _BASES_PER_HIT))
        needed = max(needed, np.int64(HITS_SHARE * expected * shorter))
        if most >= needed:
            diagonal = keys[at + most // 2] % _DIAGONALS - _DIAGONALS // 2
            b = index.other[start:stop] if other else index.codes[start:stop]
            same, part_a, part_b = align_banded(a, b, diagonal, band)
            if same >= identity and part_a >= coverage and part_b >= coverage:
                if n_found and targets[n_found - 1] == target:
                    if same > alike[n_found - 1]:
                        strands[n_found - 1], alike[n_found - 1] = other, same
                else:
                    targets[n_found], strands[n_found], alike[n_found] = target, other, same
                    n_found += 1
        begin = end
    return targets[:n_found], strands[:n_found], alike[:n_found]


@njit(cache=True)
def cluster_greedily(index, order, identity, coverage):
    """The representative of every sequence, int64[S].

    Sequences are visited in `order`; one that no representative has taken becomes one itself and
    takes all that are similar to it and still free.
    Source: the greedy incremental scheme of CD-HIT, Li & Godzik 2006, Bioinformatics 22:1658.
    """
    representative = np.full(order.shape[0], -1, np.int64)
    taken = np.zeros(order.shape[0], np.bool_)
    for row in order:
        if taken[row]:
            continue
        taken[row] = True
        representative[row] = row
        targets, _, _ = find_similar(index, row, taken, identity, coverage)
        for target in targets:
            representative[target] = row
            taken[target] = True
    return representative
