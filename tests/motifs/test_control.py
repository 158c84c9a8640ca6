"""Shuffled sequences as the baseline of a search and of a scan."""

import numpy as np
import pandas as pd
import pytest
from motif_toy import plant

from genomelm_utils.motifs import discover
from genomelm_utils.motifs.control import (
    as_records,
    control_table,
    describe_control,
    describe_scan,
    scan_both,
    shuffle_records,
)
from genomelm_utils.motifs.motif import Discovery, Motif, motif_from_consensus
from genomelm_utils.motifs.records import collect
from genomelm_utils.sequences.alphabet import decode


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def pairs_of(text: str) -> dict[str, int]:
    """Dinucleotide -> how often."""
    return pd.Series([text[i : i + 2] for i in range(len(text) - 1)]).value_counts().to_dict()


def test_shuffles_keep_dinucleotides_and_n(rng):
    texts = {"a": "ACGTTGCAACGGTA" * 3, "b": "ACGTACCA" + "NN" + "GGTTGCATTG", "c": "ACCGTA" * 7}
    data = collect(texts)
    made = shuffle_records(data, rng)
    assert made.names == data.names and (made.starts == data.starts).all()
    shuffled = [decode(piece) for piece in np.split(made.codes, made.starts[1:-1])]
    for one, other in zip(texts.values(), shuffled, strict=True):
        assert pairs_of(one) == pairs_of(other) if "N" not in one else other[8:10] == "NN"
        for left, right in zip(one.split("NN"), other.split("NN"), strict=True):
            assert pairs_of(left) == pairs_of(right)
    assert shuffled != list(texts.values())
    assert decode(data.codes).startswith(texts["a"]), "the input stays as it was"


def test_sequences_left_out_are_still_named():
    data = collect({"a": "ACGTTGCA", "short": "ACG", "b": "TTGACAGT", "c": "GATTACAG"})
    again = collect(as_records(data))
    assert again.skipped["name"].tolist() == ["short"]
    assert again.index.tolist() == [0, 1, 2]


def finding(n_motifs: int, log10_e: float) -> Discovery:
    """A result with equal motifs."""
    motifs = [Motif(f"m{i}", np.eye(4), log10_e=log10_e) for i in range(n_motifs)]
    return Discovery(motifs, "gadem, native", {}, ["a", "b"], pd.DataFrame())


def test_control_table_and_its_sentence():
    table = control_table(finding(2, -30.2), finding(1, -1.4))
    assert table["set"].tolist() == ["sequences", "sequences", "shuffled"]
    assert table["beyond"].tolist() == [True, True, False]
    assert describe_control(table) == (
        "Motifs found by the same search: 2 in the sequences, the best with E = 10^-30; 1 in "
        "shuffled ones, the best with E = 10^-1. 2 of the first are beyond all in shuffled ones."
    )
    assert not control_table(finding(1, -1.4), finding(1, -1.5))["beyond"].any()
    alone = control_table(finding(1, -30.2), finding(0, 0))
    assert alone["beyond"].all() and "; none in shuffled ones. 1 of" in describe_control(alone)
    assert not control_table(finding(1, np.nan), finding(1, np.nan))["beyond"].any()


def test_nothing_found_at_all():
    nothing = control_table(finding(0, 0), finding(0, 0))
    assert nothing.empty and {"set", "beyond", "log10_e"} <= set(nothing)
    assert describe_control(nothing) == (
        "Motifs found by the same search: none in the sequences; none in shuffled ones."
    )


@pytest.mark.slow
def test_a_planted_motif_goes_with_the_shuffle(rng):
    texts, truth = plant(rng, "TTGACGTCAA", n=60, share=0.8, length=80)
    data = collect(texts)
    shuffled = shuffle_records(data, rng)
    found, control = (discover(as_records(one), n_motifs=1, threads=1) for one in (data, shuffled))
    assert len(found) == 1 and len(control) == 0
    word = motif_from_consensus("word", "TTGACGTCAA")
    table, hits = scan_both([word, *found.motifs], ["known", "found"], data, shuffled, 1e-5)
    known = table.iloc[0]
    assert known["n_hit"] >= len(truth) and known["n_shuffled"] <= 3
    assert known["difference"] == pytest.approx(known["share"] - known["share_shuffled"])
    assert known["difference_low"] > 0.5
    assert set(hits["motif"]) == {"word", "gadem_1"}
    assert describe_scan(table).startswith("Scan: word in ")
