"""Counts of motif hits: exact p-values, both strands, ends and N, agreement with memelite."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from genomelm_utils.models.motif_scan import (
    MotifScanner,
    count_motifs,
    integer_scores,
    motif_matrices,
    score_tail,
    score_threshold,
)
from genomelm_utils.models.promoter_blocks import stack_codes
from genomelm_utils.motifs.formats import read_motifs
from genomelm_utils.motifs.motif import motif_from_probabilities
from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement


def word_matrix(word: str) -> np.ndarray:
    return np.eye(4)[encode(word)]


def test_tail_of_scores_equals_enumeration(rng: np.random.Generator) -> None:
    scores = integer_scores(rng.dirichlet(np.ones(4) * 0.5, size=5))
    low, tail = score_tail(scores)
    every = np.array([scores[range(5), word].sum() for word in product(range(4), repeat=5)])
    assert low == every.min()
    for value in np.unique(every):
        assert tail[value - low] == pytest.approx((every >= value).mean())
    assert len(tail) == every.max() - every.min() + 1


def test_threshold_is_the_lowest_score_that_is_rare_enough(rng: np.random.Generator) -> None:
    scores = integer_scores(rng.dirichlet(np.ones(4) * 0.3, size=8))
    low, tail = score_tail(scores)
    limit = int(score_threshold(scores, 1e-3))
    assert tail[limit - low] <= 1e-3
    assert tail[limit - low - 1] > 1e-3
    # one word of seven bases in 4^7 = 16,384 is rarer than 1e-4, one of six is not
    assert score_threshold(integer_scores(word_matrix("ACGTTAC"))) < np.inf
    assert score_threshold(integer_scores(word_matrix("ACGTTA"))) == np.inf


def test_hits_by_hand() -> None:
    motifs = {"gata": word_matrix("AGATAAGA"), "palindrome": word_matrix("CACGCGTG")}
    codes = stack_codes(
        [
            "AGATAAGA" + "T" * 20 + "AGATAAGA",  # at both ends
            "CC" + "TCTTATCT" + "CC",  # other strand
            "TT" + "CACGCGTG" + "TT",  # its own other strand
            "AGATNAGA" + "C" * 10,
            "AGATAAG",  # a base short
        ]
    )
    assert count_motifs(codes, motifs).tolist() == [[2, 0], [1, 0], [0, 2], [0, 0], [0, 0]]


def test_strands_and_company_do_not_matter(rng: np.random.Generator) -> None:
    motifs = {f"m{w}": rng.dirichlet(np.ones(4) * 0.3, size=w) for w in (7, 9, 12)}
    rows = [rng.integers(0, 4, n).astype(np.uint8) for n in (300, 150, 40)]
    counts = count_motifs(stack_codes(rows), motifs, p_value=0.01)
    turned = [reverse_complement(row) for row in rows]
    assert (count_motifs(stack_codes(turned), motifs, p_value=0.01) == counts).all()
    alone = [count_motifs(stack_codes([row]), motifs, p_value=0.01)[0] for row in rows]
    assert (np.stack(alone) == counts).all()
    assert counts.sum() > 10
    expected = 0.01 * 2 * sum(len(row) - w + 1 for row in rows for w in (7, 9, 12))
    assert counts.sum() < 2 * expected


def test_agrees_with_memelite_up_to_its_coarser_scores(rng: np.random.Generator) -> None:
    """memelite rounds scores to 0.1 bit: hits near the threshold may differ, the others not."""
    fimo = pytest.importorskip("memelite").fimo
    motifs = {f"m{i}": rng.dirichlet(np.ones(4) * 0.4, size=10) for i in range(6)}
    codes = rng.integers(0, 4, (40, 400)).astype(np.uint8)
    hot = np.eye(4, dtype=np.int8)[codes].transpose(0, 2, 1)
    found = fimo({name: matrix.T for name, matrix in motifs.items()}, hot, threshold=3e-3)
    ours = count_motifs(torch.from_numpy(codes), motifs, p_value=1e-3)
    for m, table in enumerate(found):
        sure, possible = (
            np.bincount(
                table.loc[table["p-value"] < limit, "sequence_name"].astype(int), minlength=40
            )
            for limit in (0.8e-3, 1.25e-3)
        )
        assert (sure <= ours[:, m]).all()
        assert (ours[:, m] <= possible).all()
        assert sure.sum() > 5


def test_significant_hits_equal_benjamini_hochberg_on_all_windows(
    rng: np.random.Generator,
) -> None:
    from scipy.stats import false_discovery_control

    matrix = rng.dirichlet(np.ones(4) * 0.2, size=8)
    word = matrix.argmax(1).astype(np.uint8)
    codes = rng.integers(0, 4, (30, 120)).astype(np.uint8)
    codes[:12, 50:58] = word
    codes[3, 80] = 14
    scores = integer_scores(matrix)
    low, tail = score_tail(scores)
    p_values, rows = [], []
    for strand in (scores, scores[::-1, ::-1]):
        for row, start in product(range(30), range(113)):
            window = codes[row, start : start + 8]
            if window.max() < 4:
                p_values.append(tail[strand[range(8), window].sum() - low])
                rows.append(row)
    kept = np.array(p_values) <= 0.01
    kept &= false_discovery_control(p_values) <= 0.1
    expected = np.bincount(np.array(rows)[kept], minlength=30)
    found = count_motifs(torch.from_numpy(codes), {"m": matrix}, p_value=0.01, max_q=0.1)[:, 0]
    assert (found == expected).all()
    assert (found[:12] >= 1).all()
    every = count_motifs(torch.from_numpy(codes), {"m": matrix}, p_value=0.01)[:, 0]
    assert every.sum() > found.sum()


def test_without_a_significant_hit_there_is_none(rng: np.random.Generator) -> None:
    codes = torch.from_numpy(rng.integers(0, 4, (5, 60)).astype(np.uint8))
    scanner = MotifScanner.from_motifs({"m": rng.dirichlet(np.ones(4), size=9)}, 0.05)
    assert scanner(codes).sum() > 0
    scanner.keep_significant(codes, 1e-9)
    assert scanner(codes).sum() == 0


def test_short_motifs_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        MotifScanner.from_motifs({"tata": word_matrix("TATAAA"), "gata": word_matrix("AGATAAGA")})
    assert "1 of 2 motifs can have no hit with p <= 0.0001" in caplog.text
    assert caplog.text.rstrip().endswith("counts are 0: tata")


def test_real_motifs_hit_random_bases_as_often_as_their_p_value_says(data_dir: Path) -> None:
    """All of HOCOMOCO: 1e-4 of all windows, neither more nor fewer."""
    motifs = read_motifs(data_dir / "motifs" / "H12CORE_meme_format.meme.gz")
    codes = np.random.default_rng(0).integers(0, 4, (64, 250)).astype(np.uint8)
    hits = count_motifs(torch.from_numpy(codes), motifs).sum()
    expected = 1e-4 * 2 * 64 * sum(251 - motif.width for motif in motifs)
    assert len(motifs) > 1000
    assert hits == pytest.approx(expected, rel=0.05)


def test_motif_objects_and_matrices_are_both_taken() -> None:
    motif = motif_from_probabilities("gata", word_matrix("AGATAAGA"), 10)
    matrices = motif_matrices([motif])
    assert list(matrices) == ["gata"]
    assert (matrices["gata"] == word_matrix("AGATAAGA")).all()
    assert decode(motif_matrices({"x": matrices["gata"] * 7})["x"].argmax(1)) == "AGATAAGA"


@pytest.mark.parametrize(
    ("motifs", "message"),
    [
        ({}, "no motif"),
        ({"m": np.ones((4, 3))}, r"motif 'm' has shape \[4, 3\]"),
        ({"m": np.zeros((0, 4))}, r"motif 'm' has shape \[0, 4\]"),
        ({"m": [[1, 0, 0, 0], [0, 0, 0, 0]]}, "position 2: .*not all 0"),
        ({"m": [[1, 0, -1, 1]]}, "position 1: .*four numbers from 0 up"),
    ],
)
def test_wrong_matrices_are_refused(motifs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        motif_matrices(motifs)


def test_two_motifs_of_one_name_and_wrong_p_values() -> None:
    motif = motif_from_probabilities("gata", word_matrix("AGATAAGA"), 10)
    with pytest.raises(ValueError, match="two motifs are named 'gata'"):
        motif_matrices([motif, motif])
    with pytest.raises(ValueError, match="p_value is 0"):
        MotifScanner.from_motifs([motif], 0)
