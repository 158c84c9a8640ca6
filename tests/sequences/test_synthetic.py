"""Synthetic negatives: what each method keeps, streaming, names, seeds, and what is refused."""

import gzip
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.letters import LetterStream, reverse_complement_text
from genomelm_utils.sequences.shuffle import shuffle_dinucleotides
from genomelm_utils.sequences.synthetic import METHODS, make_synthetic, write_synthetic

PROTEIN = "MASKERTLIPWMASKLLLERTWPM"


def draw(text, method, rng, n=1, **options):
    return [make_synthetic(text, method, rng, **options) for _ in range(n)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", ["ACGTTGCAACGTNNACG", PROTEIN])
def test_length_and_letters_stay(rng, method, text):
    for made in draw(text, method, rng, 20):
        assert len(made) == len(text)
        assert set(made) <= set(text)


def test_bootstrap_puts_whole_blocks_in_another_order(rng):
    text = "AACCGGTTACGTA"  # of four blocks of three, and one letter
    made = set(draw(text, "bootstrap", rng, 200, block=3))
    blocks = Counter(["AAC", "CGG", "TTA", "CGT", "A"])
    assert len(made) > 50
    for one in made:
        at = next(i for i in range(0, len(one), 3) if Counter(cut(one, i)) == blocks)
        assert at % 3 == 0
    assert draw("ACGTACGT", "bootstrap", rng, 1, block=8) == ["ACGTACGT"]


def cut(text, at):
    """Blocks of three, the single letter at `at`."""
    rest = text[:at], text[at : at + 1], text[at + 1 :]
    return (
        [rest[0][i : i + 3] for i in range(0, at, 3)]
        + [rest[1]]
        + [rest[2][i : i + 3] for i in range(0, len(rest[2]), 3)]
    )


def test_frequency_draws_the_words_of_the_sequence(rng):
    text = "AAAC"  # AA twice, AC once
    words = Counter(one[i : i + 2] for one in draw(text, "frequency", rng, 3000) for i in (0, 2))
    assert set(words) == {"AA", "AC"}
    assert words["AA"] / 6000 == pytest.approx(2 / 3, abs=0.02)


def test_reference_frequency_counts_without_overlaps_and_adds_a_hundredth(rng):
    text = "AAAC"  # counted as AA once, AC once; 14 other words of 0.01
    made = draw(text, "frequency", rng, 3000, mode="reference")
    words = Counter(one[i : i + 2] for one in made for i in (0, 2))
    for word in ("AA", "AC"):
        assert words[word] / 6000 == pytest.approx(1.01 / 2.16, abs=0.02)
    assert len(words) > 10
    # of a protein it knows no word but the few of A, C, G and T: random DNA
    assert set(draw(PROTEIN, "frequency", rng, 1, mode="reference")[0]) <= set("ACGT")


@pytest.mark.parametrize("text", ["ACGTTGCAACGTTGNNACGT", PROTEIN, "AAAAAA", "AC", "A", "ACA"])
def test_dinucleotide_keeps_every_pair_and_both_ends(rng, text):
    for made in draw(text, "dinucleotide", rng, 50):
        assert Counter(pairwise(made)) == Counter(pairwise(text))
        assert made[:1] + made[-1:] == text[:1] + text[-1:]


def test_dinucleotide_draws_every_sequence_with_these_pairs_alike(rng):
    """Against the shuffle for bases alone, which finds its trees in another way."""
    text, n = "ACAGACTCA", 6000
    ours = Counter(draw(text, "dinucleotide", rng, n))
    codes = np.repeat(encode(text)[None], n, axis=0)
    theirs = {"".join("ACGT"[c] for c in row) for row in shuffle_dinucleotides(codes, rng)}
    assert set(ours) == theirs
    assert max(abs(count / n - 1 / len(ours)) for count in ours.values()) < 0.02


# --- files ---------------------------------------------------------------------------------


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "in.fa"
    path.write_text(">r1 x\nACGTACGTAC\nacgt\n>short\nA\n>r2\nGGGTTTCCC\n>none\n")
    return path


@pytest.mark.parametrize(("method", "mark"), METHODS.items())
def test_one_negative_per_record(fasta, tmp_path, method, mark):
    out = tmp_path / "new" / "out.fa.gz"
    written = write_synthetic(fasta, out, method, seed=3)
    found = [(one.header, len(one.text)) for one in LetterStream(out)]
    short = [] if mark == "D" else ["short"]
    expected = [("r1 x", 14), *([] if short else [("short", 1)]), ("r2", 9)]
    assert found == [(f"NULL_{mark}_{name}", n) for name, n in expected]
    assert (written.n_records, written.n_letters) == (len(expected), sum(n for _, n in expected))
    assert written.skipped["name"].tolist() == ["none", *short]
    again = tmp_path / "again.fa.gz"
    write_synthetic(fasta, again, method, seed=3)
    assert again.read_bytes() == out.read_bytes()
    write_synthetic(fasta, again, method, seed=4)
    assert gzip.decompress(again.read_bytes()) != gzip.decompress(out.read_bytes())


def test_the_other_strand_is_that_of_the_negative(fasta, tmp_path):
    out = tmp_path / "out.fa"
    write_synthetic(fasta, out, "bootstrap", seed=1, reverse_complement=True)
    found = {one.header: one.text for one in LetterStream(out)}
    assert list(found) == ["NULL_B_r1 x", "RC_NULL_B_r1 x", "NULL_B_r2", "RC_NULL_B_r2"]
    assert found["RC_NULL_B_r2"] == reverse_complement_text(found["NULL_B_r2"])
    write_synthetic(fasta, out, "bootstrap", seed=1, reverse_complement=True, mode="reference")
    found = {one.header: one.text for one in LetterStream(out)}
    assert found["RC_r2"] == reverse_complement_text("GGGTTTCCC")  # a positive


def test_long_lines_are_wrapped(tmp_path):
    (tmp_path / "in.fa").write_text(">a\n" + "ACGT" * 50 + "\n")
    write_synthetic(tmp_path / "in.fa", tmp_path / "out.fa", "frequency", seed=1)
    lines = (tmp_path / "out.fa").read_text().splitlines()
    assert [len(line) for line in lines[1:]] == [80, 80, 40]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"method": "markov"}, "method is 'markov', expected one of: frequency"),
        ({"block": 0}, "block is 0"),
        ({"block": 9, "mode": "reference"}, "expected 1 to 8"),
        ({"mode": "both"}, "mode is 'both'"),
        ({"block": 30}, "all 3 records are shorter than 30 letters"),
    ],
)
def test_what_is_refused(fasta, tmp_path, arguments, expected):
    options = {"method": "frequency", "seed": 1} | arguments
    with pytest.raises(ValueError, match=expected):
        write_synthetic(fasta, tmp_path / "out.fa", **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.fa"]


def test_inputs_stay_and_protein_has_no_strands(fasta, tmp_path):
    with pytest.raises(ValueError, match="is the input itself"):
        write_synthetic(fasta, fasta, "frequency", seed=1)
    path = tmp_path / "p.fa"
    path.write_text(f">p\n{PROTEIN}\n")
    with pytest.raises(ValueError, match="which has no reverse complement"):
        write_synthetic(path, tmp_path / "o.fa", "frequency", seed=1, reverse_complement=True)
    with pytest.raises(ValueError, match="fewer than a block"):
        make_synthetic("AC", "bootstrap", np.random.default_rng(1), block=3)
