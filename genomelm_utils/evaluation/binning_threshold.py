"""How similar must two contigs be to share a bin? gamma, with the reason for its value.

    first, second, rows = split_halves(codes)
    gamma, why = split_threshold(embed(first), embed(second), rng)

Two halves of a contig come from one genome, whatever genome that is: their similarity says, without
a label, how close one genome's pieces lie under these features.

Shapes: S sequences, C species, D width of a vector, P pairs of halves.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from genomelm_utils.evaluation.feature_rows import label_codes, unit_rows

PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90)
PERCENTILE = 70  # of the reference, on its labelled similarities
MIN_PAIRS = 20  # below, the percentile is the value of one of the six largest


class Threshold(NamedTuple):
    """gamma for `bin_contigs`, and in words where it comes from."""

    value: float
    why: str


def split_halves(
    codes: Sequence[np.ndarray], min_half_bp: int = 1250
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """First halves, second halves, and which contigs they are from, int64 [P].

    Contigs whose halves would be shorter than `min_half_bp` are left out (what remains is in the
    third part of the result). The default is half of the 2,500 bp that binning asks of a contig. Of
    an odd length the second half has one base more. Views, not copies.
    """
    rows = [row for row, contig in enumerate(codes) if len(contig) // 2 >= min_half_bp]
    first = [codes[row][: len(codes[row]) // 2] for row in rows]
    second = [codes[row][len(codes[row]) // 2 :] for row in rows]
    return first, second, np.array(rows, dtype=np.int64)


def split_threshold(
    first_PD: np.ndarray,
    second_PD: np.ndarray,
    rng: np.random.Generator,
    percentile: float = PERCENTILE,
) -> Threshold:
    """gamma without labels: a percentile of the cosine between the two halves of each contig.

    first_PD, second_PD: features of first and second halves, row i of both from the same contig.
    The percentile is the reference's, which takes it of labelled similarities (see
    `labelled_threshold`). On 1,555 contigs of 25 bacteria and five kinds of 4-mer features the two
    values differed by at most 0.017, and both were within 0.03 of the best mean F1 over species of
    fourteen other rules (other percentiles; the best separation of halves from random pairs, which
    is far too low: a bin then takes in relatives).

    It misleads where halves are much shorter than what was embedded in training, or where a contig
    is chimeric. Random pairs (every first half with the second half of a random other contig) are
    not used for the value but for the check and the words.

    Errors: ValueError for fewer than `MIN_PAIRS` pairs; where halves are no more alike than random
    pairs; or where the percentile is not in (0, 1), as of features that are not centred at all.
    """
    first_PD, second_PD = unit_rows(first_PD), unit_rows(second_PD)
    if first_PD.shape != second_PD.shape or len(first_PD) < MIN_PAIRS:
        raise ValueError(
            f"first halves have shape {first_PD.shape} and second halves {second_PD.shape}, "
            f"expected the same shape with at least {MIN_PAIRS} rows; take shorter halves "
            "(min_half_bp), or give gamma"
        )
    if not 0 < percentile < 100:
        raise ValueError(f"percentile is {percentile}, expected a number in (0, 100)")
    halves_P = np.einsum("pd,pd->p", first_PD, second_PD)
    shift = int(rng.integers(1, len(first_PD)))
    order_P = rng.permutation(len(first_PD))  # neighbours in a random circle: never one's own half
    random_P = np.einsum("pd,pd->p", first_PD[order_P], second_PD[np.roll(order_P, shift)])
    value = float(np.percentile(halves_P, percentile))
    if np.median(halves_P) <= np.median(random_P):
        raise ValueError(
            f"two halves of a contig have a median cosine of {np.median(halves_P):.3f}, halves of "
            f"different contigs {np.median(random_P):.3f}: these features do not tell contigs "
            "apart, so nothing can be binned by them"
        )
    if not 0 < value < 1 - 1e-6:
        raise ValueError(
            f"the {percentile:g}th percentile of the cosine between halves is {value:.7f}, "
            "expected a number in (0, 1); features that are all alike need centring first"
        )
    why = (
        f"{percentile:g}th percentile of the cosine between the two halves of {len(halves_P)} "
        f"contigs; {(random_P >= value).mean():.2%} of random pairs are at least as alike"
    )
    return Threshold(value, why)


def labelled_threshold(
    features_SD: np.ndarray,
    labels: Sequence[Hashable] | np.ndarray,
    percentile: int = PERCENTILE,
) -> Threshold:
    """gamma from labelled sequences, the reference's way: true labels tune what they then test.

    Use it to repeat published numbers, on other sequences than those binned.
    Source: released evaluation of DNABERT-S: 70th percentile of `threshold_percentiles`.
    """
    values = threshold_percentiles(features_SD, labels, (percentile,))
    n_species = len(np.unique(np.asarray(labels)))
    why = (
        f"{percentile}th percentile of the cosine to the mean of one's species, "
        f"{len(features_SD)} sequences of {n_species} labelled species"
    )
    return Threshold(values[percentile], why)


def threshold_percentiles(
    features_SD: np.ndarray,
    labels: Sequence[Hashable] | np.ndarray,
    percentiles: Sequence[int] = PERCENTILES,
) -> dict[int, float]:
    """Percentiles of the product of each unit vector with the plain mean of its species.

    The mean is not scaled back to length one, so a species whose members spread has lower values.
    Percentile p is entry int(p / 100 x S) of the sorted values, S = all sequences.
    Source: released evaluation of DNABERT-S.
    """
    rows_SD = unit_rows(features_SD, n_rows=len(labels))
    codes_S, names = label_codes(labels)
    sums_CD = np.zeros((len(names), rows_SD.shape[1]))
    np.add.at(sums_CD, codes_S, rows_SD)
    means_CD = sums_CD / np.bincount(codes_S)[:, None]
    sorted_S = np.sort(np.einsum("sd,sd->s", rows_SD, means_CD[codes_S]))
    outside = [p for p in percentiles if not 0 <= p < 100]
    if outside:
        raise ValueError(f"percentile {outside[0]} found, expected numbers in [0, 100)")
    return {p: float(sorted_S[int(p / 100 * len(sorted_S))]) for p in percentiles}
