"""Compiled passes over all ways to cut texts into pieces: what unigram training spends its time on.

A text is a run of letter codes (uint8, 1..A-1), closed by 0. Pieces are nodes of a trie: node 0 is
the root, `children` int32[N, A] leads on (-1 = nowhere), `piece` int32[N] is the piece that ends at
a node (-1 = none). Piece 0 is the unknown letter, which stands wherever a letter is no piece.
In training no piece is longer than 16 letters; those to encode with (`cut_texts`) may be.

Letters: N nodes, A letter codes with the 0, P pieces, L letters of a text.
"""

import numpy as np
from numba import njit

MAX_LENGTH = 16  # letters of a piece. Source: default of the library `tokenizers`
_RING = 32  # places ahead that are kept: a power of two above MAX_LENGTH
_TINY = 1e-100  # probabilities below are rescaled, and how often is counted
_HUGE = 1e100


@njit(cache=True, nogil=True)
def add_expected(letters, starts, counts, children, piece, prob, expected):
    """Add to `expected` float64[P] how often each piece is used, over all cuts by probability.

    letters: texts end to end, text i is letters[starts[i] : starts[i + 1] - 1], seen counts[i]
    times. prob: float64[P], of piece 0 that of an unknown letter. Returns the log-likelihood.

    Forward and backward sums run in plain probabilities: whenever one falls below 1e-100 those
    ahead are multiplied by 1e100. That is as exact as sums of logarithms, without their price.
    """
    total = 0.0
    longest = 0
    for i in range(counts.shape[0]):
        longest = max(longest, starts[i + 1] - 1 - starts[i])
    alpha = np.empty(longest + 1)
    scale = np.empty(longest + 1, np.int32)
    for i in range(counts.shape[0]):
        begin, n = starts[i], starts[i + 1] - 1 - starts[i]
        _sum_forward(letters, begin, n, children, piece, prob, alpha, scale)
        _sum_backward(letters, begin, n, children, piece, prob, alpha, scale, counts[i], expected)
        total += counts[i] * (np.log(alpha[n]) + scale[n] * np.log(_TINY))
    return total


@njit(cache=True, nogil=True)
def _sum_forward(letters, begin, n, children, piece, prob, alpha, scale):
    """alpha[i] * 1e-100 ** scale[i]: probability of the first i letters, over all cuts."""
    ring = np.zeros(_RING)
    ring[0] = 1.0
    n_scaled = 0
    for i in range(n + 1):
        value = ring[i % _RING]
        ring[i % _RING] = 0.0
        if value < _TINY:
            value *= _HUGE
            n_scaled += 1
            for j in range(_RING):
                ring[j] *= _HUGE
        alpha[i] = value
        scale[i] = n_scaled
        node = 0
        for j in range(i, n):
            node = children[node, letters[begin + j]]
            if node < 0:
                break
            if piece[node] >= 0:
                ring[(j + 1) % _RING] += value * prob[piece[node]]
        if i < n and _is_unknown(children, piece, letters[begin + i]):
            ring[(i + 1) % _RING] += value * prob[0]


@njit(cache=True, nogil=True)
def _sum_backward(letters, begin, n, children, piece, prob, alpha, scale, count, expected):
    """The same from the end, and what every piece of every cut adds to `expected`."""
    ring = np.zeros(_RING)
    ring[n % _RING] = 1.0
    n_scaled = 0
    for i in range(n - 1, -1, -1):
        # scale[i] + n_scaled - scale[n] is small: all paths through i together have chance 1
        share = count * alpha[i] / alpha[n] * _TINY ** (scale[i] + n_scaled - scale[n])
        value = 0.0
        node = 0
        for j in range(i, n):
            node = children[node, letters[begin + j]]
            if node < 0:
                break
            which = piece[node]
            if which >= 0:
                path = prob[which] * ring[(j + 1) % _RING]
                value += path
                expected[which] += share * path
        if _is_unknown(children, piece, letters[begin + i]):
            path = prob[0] * ring[(i + 1) % _RING]
            value += path
            expected[0] += share * path
        if value < _TINY:
            value *= _HUGE
            n_scaled += 1
            for j in range(_RING):
                ring[j] *= _HUGE
        ring[i % _RING] = value


@njit(cache=True, nogil=True)
def _is_unknown(children, piece, letter):
    node = children[0, letter]
    return node < 0 or piece[node] < 0


@njit(cache=True, nogil=True)
def count_best(letters, starts, counts, children, piece, score, freq):
    """Add to `freq` float64[P] how often each piece is used in the best cut of every text.

    score: float64[P], log-probabilities. Of equally good cuts the one with the longer last piece.
    """
    longest = 0
    for i in range(counts.shape[0]):
        longest = max(longest, starts[i + 1] - 1 - starts[i])
    best = np.empty(longest + 1)
    length = np.empty(longest + 1, np.uint8)
    used = np.empty(longest + 1, np.int32)
    for i in range(counts.shape[0]):
        begin, n = starts[i], starts[i + 1] - 1 - starts[i]
        _cut_best(letters, begin, n, children, piece, score, n + 1, best, length, used)
        at = n
        while at > 0:
            freq[used[at]] += counts[i]
            at -= length[at]


@njit(cache=True, nogil=True)
def _cut_best(letters, begin, n, children, piece, score, below, best, length, used):
    """Fill best[0..n], length and used with the best cut into pieces shorter than `below`."""
    best[0] = 0.0
    best[1 : n + 1] = -np.inf
    for i in range(n):
        node = 0
        for j in range(i, n):
            node = children[node, letters[begin + j]]
            if node < 0:
                break
            which = piece[node]
            if which >= 0 and j + 1 - i < below and best[i] + score[which] > best[j + 1]:
                best[j + 1] = best[i] + score[which]
                length[j + 1] = j + 1 - i
                used[j + 1] = which
        unknown = best[i] + score[0]
        if _is_unknown(children, piece, letters[begin + i]) and unknown > best[i + 1]:
            best[i + 1] = unknown
            length[i + 1] = 1
            used[i + 1] = 0


@njit(cache=True, nogil=True)
def cut_texts(letters, starts, children, piece, score, ids, n_ids):
    """Write the pieces of the best cut of every text to `ids`, one text after the other.

    letters, starts: as in `add_expected`, but a text may be empty. ids: int32, with room for one
    per letter. n_ids: int64[S], how many each text has. Neighbouring unknown letters are one
    piece 0. Returns the number of all.
    """
    longest = 0
    for i in range(n_ids.shape[0]):
        longest = max(longest, starts[i + 1] - 1 - starts[i])
    best = np.empty(longest + 1)
    length = np.empty(longest + 1, np.uint16)
    used = np.empty(longest + 1, np.int32)
    total = 0
    for i in range(n_ids.shape[0]):
        begin, n = starts[i], starts[i + 1] - 1 - starts[i]
        _cut_best(letters, begin, n, children, piece, score, n + 1, best, length, used)
        first = total
        at = n
        while at > 0:
            if used[at] > 0 or total == first or ids[total - 1] > 0:
                ids[total] = used[at]
                total += 1
            at -= length[at]
        ids[first:total] = ids[first:total][::-1].copy()
        n_ids[i] = total - first
    return total


@njit(cache=True, nogil=True)
def find_losses(node_of, parent, letter, children, piece, score, freq, n_texts):
    """float64[P]: how much log-likelihood per text is lost without each piece; or a verdict.

    +inf: keep (a single letter, or a used piece that is cut better into others); -inf: drop, as it
    is not used. Otherwise all uses of a piece are given to the best other cut of its letters.
    """
    n_pieces = node_of.shape[0]
    loss = np.empty(n_pieces)
    loss[0] = np.inf
    total = freq.sum()
    word = np.empty(MAX_LENGTH, np.uint8)
    best = np.empty(MAX_LENGTH + 1)
    length = np.empty(MAX_LENGTH + 1, np.uint8)
    used = np.empty(MAX_LENGTH + 1, np.int32)
    parts = np.empty(MAX_LENGTH, np.int32)
    for one in range(1, n_pieces):
        n = 0
        node = node_of[one]
        while node > 0:
            n += 1
            word[MAX_LENGTH - n] = letter[node]
            node = parent[node]
        if n == 1:
            loss[one] = np.inf
            continue
        _cut_best(word, MAX_LENGTH - n, n, children, piece, score, n, best, length, used)
        if freq[one] == 0.0:
            loss[one] = -np.inf
        elif best[n] > score[one]:
            loss[one] = np.inf
        else:
            n_parts = 0
            at = n
            while at > 0:
                parts[n_parts] = used[at]
                n_parts += 1
                at -= length[at]
            # the library `tokenizers` takes the number of all pieces here, where SentencePiece
            # takes that of the parts; equal to the library
            log_total = np.log(total + freq[one] * (n_pieces - 1))
            alternative = 0.0
            for part in parts[:n_parts][::-1]:  # from left to right: sums that tie, tie
                alternative += np.log(freq[part] + freq[one]) - log_total
            loss[one] = freq[one] / n_texts * (np.log(freq[one]) - np.log(total) - alternative)
    return loss


@njit(cache=True, nogil=True)
def count_next(letters, position, node, depth, n_letters, counts):
    """Add 1 to counts[node[i] * n_letters + letters[position[i] + depth]] for every i."""
    for i in range(position.shape[0]):
        counts[np.int64(node[i]) * n_letters + letters[position[i] + depth]] += 1


@njit(cache=True, nogil=True)
def step_down(letters, position, node, depth, n_letters, child):
    """Move every place one letter down the trie, in place; how many are left (the rest ended)."""
    kept = 0
    for i in range(position.shape[0]):
        to = child[np.int64(node[i]) * n_letters + letters[position[i] + depth]]
        if to >= 0:
            position[kept] = position[i]
            node[kept] = to
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def compact_trie(children, parent, letter, node_of):
    """The trie with only the nodes that lead to a piece: (children, parent, letter, node_of).

    Nodes stay in their order, parents before their children.
    """
    n_nodes = parent.shape[0]
    needed = np.zeros(n_nodes, np.bool_)
    needed[0] = True
    for one in range(1, node_of.shape[0]):
        needed[node_of[one]] = True
    for node in range(n_nodes - 1, 0, -1):
        if needed[node]:
            needed[parent[node]] = True
    number = np.full(n_nodes, -1, np.int32)
    n_kept = 0
    for node in range(n_nodes):
        if needed[node]:
            number[node] = n_kept
            n_kept += 1
    new_children = np.full((n_kept, children.shape[1]), -1, np.int32)
    new_parent = np.empty(n_kept, np.int32)
    new_letter = np.empty(n_kept, np.uint8)
    for node in range(n_nodes):
        if needed[node]:
            new = number[node]
            new_parent[new] = number[parent[node]]
            new_letter[new] = letter[node]
            if node > 0:
                new_children[new_parent[new], letter[node]] = new
    new_node_of = node_of.copy()
    for one in range(1, node_of.shape[0]):
        new_node_of[one] = number[node_of[one]]
    return new_children, new_parent, new_letter, new_node_of
