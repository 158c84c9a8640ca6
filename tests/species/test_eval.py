"""`species eval`: one table of clusters, shots and bins, as the package gives them."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.baselines.species_features import species_features
from genomelm_utils.evaluation.clustering import cluster_intervals
from genomelm_utils.evaluation.species_classification import few_shot_scores
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.fasta import write_fasta
from genomelm_utils.species import eval as eval_

LABELS = ("Bacillus a", "Coccus b", "Vibrio c")
SHORT = ["--bin-min-bp", 500, "--min-bin-size", 5, "--shots", 1, 5]


@pytest.fixture(scope="module")
def contigs():
    """Names, codes and species of 45 contigs of 3 species of unlike composition, interleaved."""
    rng = np.random.default_rng(7)
    shares = np.array([[4, 1, 1, 4], [1, 4, 4, 1], [3, 3, 2, 2]]) / 10
    which = np.arange(45) % 3
    codes = [
        rng.choice(4, size=n, p=shares[s]).astype(np.uint8)
        for s, n in zip(which, rng.integers(500, 900, 45), strict=True)
    ]
    return [f"c{i:02d}" for i in range(45)], codes, [LABELS[i] for i in which]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, contigs):
    folder = tmp_path_factory.mktemp("mine")
    names, codes, labels = contigs
    write_fasta(folder / "contigs.fa.gz", names, codes)
    truth = pd.DataFrame({"contig": names, "species": labels})
    truth.to_csv(folder / "truth.tsv", sep="\t", index=False)
    rows = [f"{decode(one)}\t{label}" for one, label in zip(codes, labels, strict=True)]
    (folder / "labelled.tsv").write_text("\n".join(["sequence\tspecies", *rows]) + "\n")
    return folder


@pytest.fixture
def run(run):
    return partial(run, "eval", out="scores.tsv")


def read_tsv(path):
    return pd.read_csv(path, sep="\t")


def test_the_table_is_what_the_package_gives(run, contigs):
    status, out, said, complaints = run("labelled.tsv", "--features", "tnf_k", *SHORT)
    assert (status, complaints) == (0, "")
    table = read_tsv(out)
    assert list(table) == eval_.COLUMNS
    assert set(table["method"]) == {"tnf_k", "canonical_tnf"}
    assert set(table["measure"]) == {
        *("ari", "nmi", "ari_minus_canonical_tnf", "macro_f1"),
        *("recovered_share", "bin_f1", "gamma", "n_bins"),
    }
    values = species_features("tnf_k", contigs[1])
    rows = table[table["method"] == "tnf_k"].set_index(["measure", "unit"])
    expected = cluster_intervals(values, contigs[2], np.random.default_rng(0), range(5))
    for row in expected.itertuples():
        found = rows.loc[("ari", row.unit)]
        assert found[["value", "low", "high"]].tolist() == pytest.approx(
            [row.mean, row.low, row.high], abs=1e-6
        )
    expected = few_shot_scores(values, contigs[2], shots=[1, 5], seeds=range(5)).scores
    shots = rows.loc["macro_f1"].set_index("at")["value"]
    for n in (1, 5):
        of_n = expected.loc[expected["shots"] == n, "macro_f1"]
        assert shots[n] == pytest.approx(of_n.mean(), abs=1e-6)
    assert (table["low"].isna() == table["measure"].isin(["bin_f1", "gamma", "n_bins"])).all()
    assert rows.loc["recovered_share"]["value"].is_monotonic_decreasing
    assert "45 sequences of 3 species" in said and "tnf_k\tari\t" in said


def test_sequences_with_a_truth_are_the_labelled_table(run):
    _, a, *_ = run("labelled.tsv", "--features", "canonical_tnf", *SHORT, out="a.tsv")
    status, b, *_ = run(
        "contigs.fa.gz", "--truth", "truth.tsv", "--features", "canonical_tnf", *SHORT, out="b.tsv"
    )
    assert status == 0 and a.read_bytes() == b.read_bytes()
    assert set(read_tsv(a)["method"]) == {"canonical_tnf"}  # with nothing to compare it with
    assert "ari_minus_canonical_tnf" not in set(read_tsv(a)["measure"])


def test_what_is_left_out_is_named_and_what_cannot_be_scored_is_told(run, folder, tmp_path):
    path, truth = tmp_path / "odd.fa", tmp_path / "odd.tsv"
    path.write_text(">a\nACGTACGTAA\n>b\nACGTACGTAC\n>c\nGGGGCCGGCC\n>d\nGGGGCCGGCA\n"
                    ">e\nNNNN\n>f\nACGTACGTAC\n>g\nAGGTACGTAC\n")  # fmt: skip
    truth.write_text("contig\tspecies\na\tA\nb\tA\nc\tB\nd\tB\ne\tA\nf\tC\n")
    command = [path, "--truth", truth, "--features", "canonical_tnf"]
    status, out, _, complaints = run(*command)
    assert status == 0
    skipped = read_tsv(f"{out}.skipped.tsv").set_index("name")["reason"].to_dict()
    assert set(skipped) == {"e", "f", "g"}
    assert skipped["g"] == "not in odd.tsv" and skipped["f"] == "C has 1 of 2 sequences"
    assert "few-shot: 2, 5, 10, 20 shots left out" in complaints
    assert "Nothing was binned: the threshold takes at least" in complaints
    assert set(read_tsv(out)["measure"]) == {"ari", "nmi", "macro_f1"}


def test_bad_requests_are_one_sentence_and_leave_nothing(run, folder, tmp_path):
    (tmp_path / "one.tsv").write_text("contig\tspecies\nc01\tA\nc02\tA\n")
    tnf = ["--features", "canonical_tnf"]
    for command, message in (
        (["contigs.fa.gz", *tnf], "contigs.fa.gz has no species: give --truth"),
        (["absent.tsv", *tnf], "absent.tsv: no such file"),
        (["labelled.tsv", "--model", "absent"], "absent: no such folder"),
        (["labelled.tsv", *tnf, "--strands", "both"], "only a --model uses --strands"),
        (["contigs.fa.gz", "--truth", tmp_path / "one.tsv", *tnf], "fewer than two species"),
        (["truth.tsv", *tnf], "truth.tsv, line 2"),
    ):
        status, out, said, complaints = run(*command)
        assert (status, said) == (2, "") and message in complaints, complaints
        assert not out.parent.exists() or not list(out.parent.iterdir())
    np.save(tmp_path / "e.npy", np.ones((2, 3), np.float32))
    status, _, _, complaints = run(tmp_path / "e.npy", *tnf)
    assert status == 2 and "e.npy holds embeddings: eval embeds halves" in complaints
