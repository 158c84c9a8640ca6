"""Stage 11's parts: what is searched, what is known, which rankings stand against which motifs."""

import gzip
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.motifs import rgadem, study
from genomelm_utils.motifs.formats import write_motifs
from genomelm_utils.motifs.motif import Discovery, Motif, motif_from_consensus
from genomelm_utils.sequences.simulate_motifs import PEAK_MOTIFS

DEFAULTS = {"sequences": "", "max_sequences": 0, "n_simulated": 30, "known": [], "published": ""}


@dataclass
class FakeParent:
    """A finished run of stage 02."""

    content: dict[str, pd.DataFrame]
    params: dict = field(default_factory=lambda: {"k": 2})

    def table(self, name: str) -> pd.DataFrame:
        return self.content[name]


@dataclass
class FakeRun:
    """As much of a run as the study reads."""

    params: dict
    seed: int = 1
    ranking: FakeParent | None = None

    def data(self, name: str) -> Path:
        return Path(name)

    def parent(self, name: str) -> FakeParent:
        assert name == "ranking"
        return self.ranking


def run_with(**params) -> FakeRun:
    """A run with these parameters and else the defaults."""
    return FakeRun(DEFAULTS | params)


def test_simulated_sequences_with_their_truth():
    opened = study.open_sequences(run_with(max_sequences=20))
    assert len(opened.data) == 20 and (opened.lengths_bp == 200).all()
    assert set(opened.truth["motif"]) == {motif.name for motif in PEAK_MOTIFS}
    assert opened.truth["index"].max() < 20
    assert (opened.shuffled.codes != opened.data.codes).any()
    again = study.open_sequences(run_with(max_sequences=20))
    assert (again.shuffled.codes == opened.shuffled.codes).all()
    table = study.sequence_summary(opened).set_index("quantity")["value"]
    assert (table["sequences"], table["median, bp"], table["bases"]) == (20, 200, 4000)
    assert table["planted AP-1"] == (opened.truth["motif"] == "AP-1").sum()


def test_a_table_and_a_fasta_file_are_the_same_sequences(tmp_path):
    texts = ["ACGTTGCATC", "TTGACAGTAC", "GATTACAGAA", "CCGTATTGCA"]
    table = tmp_path / "train.tsv.gz"
    rows = "".join(f'"{text}"\t{i % 2}\n' for i, text in enumerate(texts))
    table.write_bytes(gzip.compress(f'"sequence"\t"label"\n{rows}'.encode()))
    fasta = tmp_path / "own.fa"
    fasta.write_text("".join(f">peak {i}\n{text}\n" for i, text in enumerate(texts)))
    one = study.open_sequences(run_with(sequences=str(table), max_sequences=3))
    other = study.open_sequences(run_with(sequences=str(fasta), max_sequences=3))
    assert (one.data.codes == other.data.codes).all() and len(one.data) == 3
    assert one.truth is None and other.data.names[0] == "peak_0"
    quantities = study.sequence_summary(one)["quantity"]
    assert not quantities.str.startswith("planted").any()


def test_n_stays_where_it_is(tmp_path):
    fasta = tmp_path / "own.fa"
    fasta.write_text(">a\nACGTTGCATCNNNNTTGACAGTAC\n>b\nGATTACAGAA\n>c\nACG\n>d\nCCGTATTGCA\n")
    opened = study.open_sequences(run_with(sequences=str(fasta)))
    assert ((opened.data.codes >= 4) == (opened.shuffled.codes >= 4)).all()
    table = study.sequence_summary(opened).set_index("quantity")["value"]
    assert (table["left out"], table["sequences"]) == (1, 3)


def test_rgadem_where_it_is_missing(monkeypatch):
    def missing() -> None:
        raise rgadem.MissingR("rGADEM", "R 4.2.2 has no such package")

    monkeypatch.setattr(rgadem, "check_rgadem", missing)
    opened = study.open_sequences(run_with())
    quick = {"n_motifs": 1, "num_generation": 1, "population_size": 10, "threads": 1}
    found, shuffled, told = study.search_both(opened, "rgadem", **quick)
    assert found.engine == shuffled.engine == "gadem, native"
    assert told.startswith("Engine: gadem, native. The native engine stands in for rGADEM: ")
    assert "conda env create -f environment.yml" in told


def test_known_motifs_are_planted_among_random_ones():
    known = study.known_motifs(run_with())
    assert [motif.name for motif in known[:3]] == ["AP-1", "GRE", "NRF1"]
    assert len(known) == 3 + study.N_DECOYS
    assert [m.consensus for m in known] == [m.consensus for m in study.known_motifs(run_with())]


def test_known_motifs_of_two_files(tmp_path):
    files = [tmp_path / "a.meme", tmp_path / "b.meme"]
    for file in files:
        write_motifs(file, [motif_from_consensus("MA1", "TGACTCA")])
    known = study.known_motifs(run_with(known=[str(file) for file in files]))
    assert [motif.name for motif in known] == ["MA1", "MA1_2"]
    assert study.conserved_motifs(run_with(known=["x"]), known) == known
    assert study.conserved_motifs(run_with(), known)[0].name == "TATA-box"


def result(*motifs: Motif) -> Discovery:
    """A result with these motifs."""
    return Discovery(list(motifs), "gadem, native", {}, ["a"], pd.DataFrame())


@pytest.mark.slow
def test_planted_motifs_are_recognised_among_random_ones():
    known = study.known_motifs(run_with())
    found = result(
        motif_from_consensus("gadem_1", "TGACTCA"), motif_from_consensus("gadem_2", "AATTAATTAA")
    )
    matches = study.match_found(found, known, 2)
    assert matches["rank"].tolist() == [1, 2, 1, 2]
    assert matches.iloc[0][["known", "strand"]].tolist() == ["AP-1", "-"]
    pairs = study.best_pairs(found, known, matches, 0.05, n=4)
    assert [(one.name, other.name) for one, other, _ in pairs] == [("gadem_1", "AP-1")]
    motifs, kinds = study.motifs_to_scan(found, [*pairs, *pairs])
    assert [motif.name for motif in motifs] == ["gadem_1", "gadem_2", "AP-1"]
    assert kinds == ["found", "found", "known"]
    nothing = study.match_found(result(), known, 2)
    assert nothing.empty and list(nothing) == list(matches)


def test_rankings_and_the_words_they_put_first():
    ranking = pd.DataFrame(
        {"ngram": ["AC", "GT", "AA"], "norm_dp_true_pmi": [3.0, 2.0, 1.0], "count": [5, 9, 7]}
    )
    released = ranking.assign(norm_dp_true_pmi=[1.0, 2.0, 3.0])
    run = run_with()
    run.ranking = FakeParent({"ranking": ranking, "ranking_reference": released})
    rankings = study.word_rankings(run)
    assert list(rankings) == ["corrected", "reference", "counts alone"]
    matches = pd.DataFrame(
        {"ngram": ["AA", "AC", "GT"], "n_motifs": [0, 2, 1], "motifs": ["", "x y", "x"]}
    )
    top = study.top_matched(rankings, matches, n=2)
    assert top["ngram"].tolist() == ["AC", "GT", "AA", "GT", "GT", "AA"]
    assert top["motifs"].tolist() == ["x y", "x", "", "x", "x", ""]
    np.testing.assert_array_equal(top["rank"], [1, 2] * 3)
