"""Two views of one genome for contrastive training, as base codes: which windows, changed how.

Everything random hangs on (seed, step, row), so that processes and resumed trainings agree.
Letters: B pairs, L bases.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from genomelm_utils.sequences.alphabet import complement, reverse_complement

#: What the second view is: another window of the genome, the same window again (only dropout tells
#: them apart), its other strand, or a mutated copy. Source: Zhou et al. 2024 (arXiv:2402.08777).
METHODS = ("same_species", "dropout", "double_strand", "mutate")
MUTATED_SHARE = 0.05  # Source: released training code: bases swapped, then chance to be deleted

_STRAND, _MUTATION = range(2)  # streams of random numbers


class PairsLike(Protocol):
    """A batch of pairs, such as `datasets.species_pairs.Pairs`: windows as uint8 base codes."""

    first: list[np.ndarray]
    second: list[np.ndarray]
    species: np.ndarray


def make_views(
    pairs: PairsLike,
    *,
    method: str = "same_species",
    seed: int,
    step: int,
    start: int = 0,
    turn_windows: bool = True,
    reference: bool = False,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """First and second view of every pair, a list of B windows each.

    With another method than `same_species` only one window of a pair is used, in turns the first
    and the second, so that both columns of a file are seen.

    Args:
        pairs: the pairs of rows `start`, `start` + 1, ... of the step.
        method: one of `METHODS`.
        turn_windows: turn windows to the other strand with chance 1/2: both views of
            `same_species` on their own, else the window before its second view is made.
        reference: True repeats the released views: `double_strand` complements without reversing,
            `mutate` does not swap.
    Raises: ValueError for an unknown method.
    """
    check_method(method)
    n = len(pairs.first)
    if method == "same_species":
        views = [list(pairs.first), list(pairs.second)]
    else:
        both = (pairs.first, pairs.second)
        views = [[both[(step + start + row) % 2][row] for row in range(n)]]
    if turn_windows:
        rng = np.random.default_rng([seed, step, _STRAND])
        turned_B2 = rng.random((start + n, 2))[start:] < 0.5
        views = [turn(view, turned_B2[:, i]) for i, view in enumerate(views)]
    if method == "same_species":
        return views[0], views[1]
    first = views[0]
    if method == "double_strand":
        return first, [other_strand(codes, reference) for codes in first]
    if method == "mutate":
        rngs = (np.random.default_rng([seed, step, _MUTATION, start + row]) for row in range(n))
        second = [mutate(c, rng, reference=reference) for c, rng in zip(first, rngs, strict=True)]
        return first, second
    return first, list(first)


def check_method(method: str) -> None:
    """Nothing for one of `METHODS`; ValueError names the choices."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}, expected one of: {', '.join(METHODS)}")


def turn(windows: Sequence[np.ndarray], turned_B: np.ndarray) -> list[np.ndarray]:
    """The windows, those marked in bool[B] as reverse complements."""
    return [
        reverse_complement(codes) if turned else codes
        for codes, turned in zip(windows, turned_B, strict=True)
    ]


def other_strand(codes: np.ndarray, reference: bool = False) -> np.ndarray:
    """The reverse complement; as released (`reference`) the complement, which no strand reads."""
    return complement(codes) if reference else reverse_complement(codes)


def mutate(
    codes: np.ndarray,
    rng: np.random.Generator,
    share: float = MUTATED_SHARE,
    reference: bool = False,
) -> np.ndarray:
    """A copy with `share` of the positions swapped in pairs, then each base deleted by chance.

    At least one base is left. share: of positions that take part in a swap, and chance of a
    deletion, [0, 1]. reference: no swap, because the released code hands the words of a sentence
    to be swapped a sequence, which is one word.
    """
    codes = codes.copy()
    n_swaps = 0 if reference else int(share * len(codes) / 2)
    places = rng.choice(len(codes), size=2 * n_swaps, replace=False, shuffle=True)
    left, right = places[:n_swaps], places[n_swaps:]
    codes[left], codes[right] = codes[right], codes[left]
    kept = rng.random(len(codes)) >= share
    if len(codes) and not kept.any():
        kept[rng.integers(len(codes))] = True
    return codes[kept]
