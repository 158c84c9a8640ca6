"""Compiled random walks over letters: texts with the same pairs of neighbours.

Letters: L letters of a text, A different letters.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def shuffle_pairs(codes, n_letters, rng, out):
    """Write to `out` a random text with exactly the pairs of neighbours that `codes` has.

    codes: integers [L] from 0 to n_letters - 1, L > 1. The first and the last letter stay. Uniform
    over all such texts.

    Source: Altschul & Erickson 1985, Mol. Biol. Evol. 2:526. The last way out of every letter has
    to be a tree that leads to the last letter; it is drawn, by how many pairs make it, by random
    walks without their loops (Wilson 1996, STOC, p. 296).
    """
    n = codes.shape[0]
    counts = np.zeros(n_letters, np.int64)
    for i in range(n - 1):
        counts[codes[i]] += 1
    ends = np.cumsum(counts)
    filled = ends - counts
    follows = np.empty(n - 1, codes.dtype)  # of each letter, what comes after it
    for i in range(n - 1):
        follows[filled[codes[i]]] = codes[i + 1]
        filled[codes[i]] += 1
    root = codes[n - 1]
    last = np.full(n_letters, -1, np.int64)  # place in `follows` of the last way out
    in_tree = np.zeros(n_letters, np.bool_)
    in_tree[root] = True
    for letter in range(n_letters):
        if counts[letter] == 0:
            continue
        at = letter
        while not in_tree[at]:
            last[at] = ends[at] - 1 - int(rng.random() * counts[at])
            at = follows[last[at]]
        at = letter
        while not in_tree[at]:
            in_tree[at] = True
            at = follows[last[at]]
    for letter in range(n_letters):
        begin, end = ends[letter] - counts[letter], ends[letter]
        if letter != root and counts[letter] > 0:
            place = last[letter]
            follows[place], follows[end - 1] = follows[end - 1], follows[place]
            end -= 1
        for i in range(end - 1, begin, -1):
            j = begin + int(rng.random() * (i + 1 - begin))
            follows[i], follows[j] = follows[j], follows[i]
        filled[letter] = begin
    out[0] = codes[0]
    for i in range(n - 1):
        letter = out[i]
        out[i + 1] = follows[filled[letter]]
        filled[letter] += 1
