"""`species bin` with coverage, with composition beside a model, and with approximate search."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from genomelm_utils.baselines.species_features import species_features
from genomelm_utils.evaluation import binning
from genomelm_utils.evaluation.feature_fusion import coverage_rows, fuse_features
from genomelm_utils.models.alibi_bert import AlibiBertModel, alibi_config
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.fasta import write_fasta
from genomelm_utils.species import fusion, options
from genomelm_utils.species.fusion import find_nearest
from genomelm_utils.tokenizers.bpe import train_bpe

N = 80
TNF = ["--features", "canonical_tnf"]
BIN = ["bin", "contigs.fa", "--min-bp", 500]
MEANS = np.array([[30, 5, 10], [4, 40, 8], [9, 9, 60], [50, 3, 3]])  # species x samples


@pytest.fixture(scope="module")
def contigs():
    """Names, codes, species, depths: 4 species; 0 and 1, 2 and 3 have one composition."""
    rng = np.random.default_rng(3)
    shares = np.array([[4, 1, 1, 4], [1, 4, 4, 1]]) / 10
    which = np.arange(N) % 4
    codes = [
        rng.choice(4, size=n, p=shares[s // 2]).astype(np.uint8)
        for s, n in zip(which, rng.integers(600, 1200, N), strict=True)
    ]
    return (
        [f"c{i:02d}" for i in range(N)],
        codes,
        which,
        MEANS[which] * rng.lognormal(0, 0.15, (N, 3)),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory, contigs):
    """contigs.fa, truth.tsv, depth.tsv, part.tsv (without c03 and c05), other.tsv, and a model."""
    folder = tmp_path_factory.mktemp("mine")
    names, codes, which, depth = contigs
    write_fasta(folder / "contigs.fa", names, codes)
    truth = pd.DataFrame({"contig": names, "species": [f"s{i}" for i in which]})
    truth.to_csv(folder / "truth.tsv", sep="\t", index=False)
    table = pd.DataFrame(depth, columns=["a", "b", "c"])
    table.insert(0, "contig", names)
    table = table.sample(frac=1, random_state=0)  # in another order than the sequences
    table.to_csv(folder / "depth.tsv", sep="\t", index=False)
    part = table[~table["contig"].isin(["c03", "c05"])]
    part.to_csv(folder / "part.tsv", sep="\t", index=False)
    other = table.assign(contig="x" + table["contig"])
    other.to_csv(folder / "other.tsv", sep="\t", index=False)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 32}
    model = AlibiBertModel(alibi_config("micro", vocab_size=40, **sizes))
    model.save_pretrained(folder / "model")
    train_bpe([decode(one) for one in codes], 40).save_pretrained(folder / "model")
    return folder


def found(path):
    return json.loads(Path(f"{path}.json").read_text())


def test_coverage_parts_species_of_one_composition(run):
    truth = ["--truth", "truth.tsv"]
    _, alone, *_ = run(*BIN, *TNF, *truth, out="alone.tsv")
    status, both, said, _ = run(*BIN, *TNF, *truth, "--coverage", "depth.tsv", out="both.tsv")
    assert status == 0 and "70th percentile of the cosine between the two halves of 80" in said
    assert found(alone)["scores"]["f1"] < 0.6 and found(both)["scores"]["f1"] > 0.85
    assert found(both)["scores"]["purity_bp"] > 0.99
    assert (found(alone)["width"], found(both)["width"]) == (136, 140)
    assert str(Path("depth.tsv")) in found(both)["inputs"]


@pytest.mark.parametrize("weight", [0.5, 2])
def test_weights_are_used_and_embeddings_take_coverage_too(run, contigs, weight):
    _, codes, _, depth = contigs
    _, values, *_ = run("embed", "contigs.fa", *TNF, out="e.npy")
    coverage = ["--coverage", "depth.tsv", "--coverage-weight", weight]
    _, a, *_ = run("bin", values, "--min-bp", 500, "--gamma", 0.9, *coverage, out="a.tsv")
    _, b, *_ = run(*BIN, *TNF, "--gamma", 0.9, *coverage, out="b.tsv")
    assert a.read_bytes() == b.read_bytes()
    blocks = [species_features("canonical_tnf", codes), coverage_rows(depth)]
    expected = binning.bin_contigs(fuse_features(blocks, [1, weight]), 0.9)
    bins = pd.read_csv(a, sep="\t")["bin"].tolist()
    assert bins == [f"bin_{i:03d}" if i > 0 else "unbinned" for i in expected.labels]
    assert expected.n_bins >= 2


def test_composition_beside_a_model(run, contigs):
    """--fuse-tnf is what the package's fusion of the two gives, for contigs and for halves."""
    _, values, *_ = run("embed", "contigs.fa", "--model", "model", out="e.npy")
    rows = fuse_features([np.load(values), species_features("tnf_k", contigs[1])])
    fused = [*BIN, "--model", "model", "--fuse-tnf"]
    status, out, *_ = run(*fused, "--gamma", 0.6)
    labels = binning.bin_contigs(rows, 0.6).labels
    assert status == 0 and found(out)["width"] == 32 + 103
    bins = pd.read_csv(out, sep="\t")["bin"]
    np.testing.assert_array_equal(bins == "unbinned", labels < 0)
    assert (labels > 0).any()
    status, out, *_ = run(*fused, "--coverage", "depth.tsv", "--truth", "truth.tsv", out="3.tsv")
    assert status == 0 and found(out)["width"] == 32 + 103 + 4
    assert found(out)["scores"]["f1"] > 0.8


def test_contigs_without_coverage_are_left_out_counted_and_named(run):
    status, out, _, said = run(*BIN, *TNF, "--gamma", 0.9, "--coverage", "part.tsv")
    assert status == 0 and "left out 2 records: 2 not in part.tsv (c03, c05)" in said
    skipped = pd.read_csv(f"{out}.skipped.tsv", sep="\t")
    assert skipped["name"].tolist() == ["c03", "c05"]
    assert len(pd.read_csv(out, sep="\t")) == N - 2


def test_a_table_of_other_contigs_is_told_before_anything_is_embedded(run, monkeypatch):
    monkeypatch.setattr(fusion.Maker, "of_file", lambda *_: pytest.fail("was read"))
    status, out, _, said = run(*BIN, *TNF, "--coverage", "other.tsv")
    assert status == 2 and "other.tsv has none of the" in said and "named like 'c00'" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([*TNF, "--coverage-weight", 2], "--coverage-weight is of --coverage, which is not given"),
        ([*TNF, "--coverage", "depth.tsv", "--coverage-weight", 0], "expected a number above 0"),
        ([*TNF, "--coverage", "no.tsv"], "no.tsv: no such file, expected a table of coverage"),
        ([*TNF, "--coverage", "contigs.fa"], "expected a header and tab-separated columns"),
        ([*TNF, "--fuse-tnf"], "--features canonical_tnf is composition already"),
        ([*TNF, "--recall", 2], "recall is 2.0, expected a share"),
    ],
)
def test_options_that_do_not_go_together_are_told(run, options, message):
    status, out, _, said = run(*BIN, *options)
    assert status == 2 and said.count("\n") == 1 and message in said and not out.exists()


def test_composition_of_embeddings_is_refused(run):
    _, values, *_ = run("embed", "contigs.fa", *TNF, out="e.npy")
    status, _, _, said = run("bin", values, "--min-bp", 500, "--gamma", 0.9, "--fuse-tnf")
    assert status == 2 and "holds no sequences: --fuse-tnf needs FASTA" in said


def test_approximate_search_is_asked_for_and_told(run):
    command = [*BIN, *TNF, "--gamma", 0.9, "--neighbours"]
    _, exact, said, _ = run(*command, "exact", out="a.tsv")
    assert "neighbours" not in said and found(exact)["neighbours_found"] == "exact: given"
    status, out, said, _ = run(*command, "approximate", "--recall", 1, out="b.tsv")
    assert status == 0 and "neighbours\tapproximate\tgiven; all of " in said
    assert out.read_bytes() == exact.read_bytes()


def test_what_the_parser_knows_is_what_the_package_knows():
    assert (options.NEIGHBOURS, options.RECALL) == (
        binning.NEIGHBOURS,
        binning.RECALL,
    )


def test_the_nearest_other_row(rng, monkeypatch):
    monkeypatch.setattr(fusion, "BLOCK_ROWS", 7)
    values = rng.normal(size=(40, 5))
    values[31] = 2 * values[4]
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -2)
    rows = np.array([4, 31, 0, 39])
    np.testing.assert_array_equal(find_nearest(values, rows), cosine.argmax(1)[rows])
    assert find_nearest(values, rows)[:2].tolist() == [31, 4]
