"""The command a person runs on their own sequences: what it writes, and what it says about errors.

The numbers behind it are tested where they are made; here: files, names, order, messages.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from genomelm_utils import command_outputs
from genomelm_utils.baselines import species_features
from genomelm_utils.datasets import species_pairs
from genomelm_utils.datasets.species_pair_files import read_pairs_csv
from genomelm_utils.evaluation import species_classification
from genomelm_utils.models.alibi_bert import AlibiBertModel, alibi_config
from genomelm_utils.models.alibi_config import ALIBI_PRESETS
from genomelm_utils.sequences import stream
from genomelm_utils.sequences.alphabet import decode, reverse_complement
from genomelm_utils.sequences.fasta import read_fasta, write_fasta
from genomelm_utils.sequences.stream import RecordStream
from genomelm_utils.species import binning, commands, inputs, main, options
from genomelm_utils.tasks import embedding, embedding_files
from genomelm_utils.tasks.embedding_files import read_embeddings
from genomelm_utils.tokenizers.bpe import train_bpe

REPOSITORY = Path(__file__).resolve().parents[1]
TNF = ["--features", "canonical_tnf"]
SPECIES = ("Bacillus a", "Coccus b", "Vibrio c")


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
    return [f"c{i:02d}" for i in range(45)], codes, [SPECIES[i] for i in which]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, contigs):
    """A folder with contigs.fa.gz, truth.tsv and a tiny untrained model with its tokenizer."""
    folder = tmp_path_factory.mktemp("mine")
    names, codes, labels = contigs
    write_fasta(folder / "contigs.fa.gz", names, codes)
    pd.DataFrame({"contig": names, "species": labels}).to_csv(
        folder / "truth.tsv", sep="\t", index=False
    )
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 32}
    model = AlibiBertModel(alibi_config("micro", vocab_size=40, **sizes))
    model.save_pretrained(folder / "model")
    train_bpe([decode(one) for one in codes], 40).save_pretrained(folder / "model")
    return folder


def read_tsv(path):
    return pd.read_csv(path, sep="\t", keep_default_na=False)


def settings(path):
    return json.loads(Path(f"{path}.json").read_text())


# --- embed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["e.npy", "e.parquet"])
@pytest.mark.parametrize("how", [["--model", "model"], TNF])
def test_embed_keeps_names_and_order_and_tells_its_settings(run, contigs, name, how):
    status, out, said, complaints = run("embed", "contigs.fa.gz", *how, out=name)
    assert (status, complaints) == (0, "")
    table, values = read_embeddings(out)
    assert table["name"].tolist() == contigs[0]
    assert table["n_bases"].tolist() == [len(codes) for codes in contigs[1]]
    assert values.dtype == np.float32 and values.shape == (45, 32 if how[0] == "--model" else 136)
    assert "45 sequences" in said
    held = settings(out)
    assert held["settings"]["input"] == "contigs.fa.gz" and held["n_skipped"] == 0
    assert len(held["inputs"]["contigs.fa.gz"]) == 64 and "torch" in held["versions"]
    assert ("model/model.safetensors" in held["inputs"]) == (how[0] == "--model")
    expected = {name, f"{name}.json", f"{name}.skipped.tsv"}
    assert {path.name for path in out.parent.iterdir()} - {f"{name}.names.csv"} == expected


def test_embed_gives_what_the_package_gives(run, contigs):
    _, out, *_ = run("embed", "contigs.fa.gz", *TNF, out="e.npy")
    expected = species_features.species_features("canonical_tnf", contigs[1])
    assert np.array_equal(read_embeddings(out)[1], expected)
    _, both, *_ = run(
        "embed", "contigs.fa.gz", "--model", "model", "--strands", "both", out="b.npy"
    )
    turned = out.parent / "turned.fa"
    write_fasta(turned, contigs[0], [reverse_complement(one) for one in contigs[1]])
    _, again, *_ = run("embed", turned, "--model", "model", "--strands", "both", out="r.npy")
    assert np.allclose(read_embeddings(both)[1], read_embeddings(again)[1], atol=1e-5)


def test_the_cache_is_found_again_by_every_command(run, tmp_path, monkeypatch):
    model = ["--model", "model", "--cache", tmp_path / "kept"]
    _, first, *_ = run("embed", "contigs.fa.gz", *model, out="a.npy")
    calls = []
    monkeypatch.setattr(embedding_files, "embed", lambda *_, **__: calls.append(1))
    status, second, *_ = run("embed", "contigs.fa.gz", *model, out="b.parquet")
    assert status == 0 and not calls
    assert np.array_equal(read_embeddings(first)[1], read_embeddings(second)[1])
    assert run("cluster", "contigs.fa.gz", "--k", 3, *model)[0] == 0 and not calls


@pytest.mark.parametrize("how", [["--model", "model"], TNF])
def test_records_left_out_are_counted_named_and_listed(run, tmp_path, how):
    path = tmp_path / "odd.fa"
    path.write_text(">good\nACGTacgtACGT\n>empty\n>unknown\nNNNNNNNN\n>short\nACG\n")
    status, out, _, said = run("embed", path, *how, "--min-bp", 5, out="e.npy")
    assert status == 0 and read_embeddings(out)[0]["name"].tolist() == ["good"]
    assert said.startswith("left out 3 records: ") and said.count("\n") == 1
    for reason in ("1 empty record (empty)", "no definite base (N only) (unknown)", "5 bp (short)"):
        assert reason in said
    skipped = read_tsv(f"{out}.skipped.tsv")
    assert skipped["name"].tolist() == ["empty", "unknown", "short"]
    assert settings(out)["n_skipped"] == 3


@pytest.mark.parametrize("kind", options.FEATURES)
def test_features_of_a_file_are_written_block_by_block(
    folder, contigs, monkeypatch, tmp_path, kind
):
    def in_small_blocks(path, **options):
        return RecordStream(path, **options, block_records=7)

    path = tmp_path / "more.fa"
    names, codes = [*contigs[0], "odd"], [*contigs[1], np.array([0, 14, 1, 2], np.uint8)]
    write_fasta(path, names, codes)
    monkeypatch.setattr(stream, "RecordStream", in_small_blocks)
    maker = inputs.Maker(argparse.Namespace(features=kind, model=None))
    found = maker.of_file(path)
    assert isinstance(found.values, np.memmap)  # on disk, not in memory
    whole = species_features.species_features(kind, contigs[1])
    assert np.allclose(found.values, whole, rtol=0, atol=1e-7)  # products of unlike size round so
    assert found.names == contigs[0] and found.skipped["name"].tolist() == ["odd"]
    assert found.n_bases.tolist() == [len(one) for one in contigs[1]]


# --- cluster -------------------------------------------------------------------------------


def test_clusters_of_unlike_species_are_the_species(run, contigs):
    status, out, said, _ = run("cluster", "contigs.fa.gz", *TNF, "--k", 3, "--truth", "truth.tsv")
    assert status == 0
    table = read_tsv(out)
    assert list(table) == ["name", "n_bases", "species", "cluster"]
    assert table["name"].tolist() == contigs[0]
    assert table["cluster"].tolist() == [1, 2, 3] * 15  # numbered as they first appear
    scores = dict(line.split("\t") for line in said.splitlines()[1:])
    assert scores["ari"] == scores["nmi"] == "1.0000"
    assert settings(out)["scores"]["ari"] == 1 and settings(out)["settings"]["seed"] == 0


def test_embeddings_cluster_as_their_sequences_and_k_comes_from_the_truth(run):
    _, embedded, *_ = run("embed", "contigs.fa.gz", *TNF, out="e.npy")
    _, a, *_ = run("cluster", embedded, "--truth", "truth.tsv", out="a.tsv")
    _, b, *_ = run("cluster", "contigs.fa.gz", *TNF, "--truth", "truth.tsv", out="b.tsv")
    assert a.read_bytes() == b.read_bytes() and settings(a)["k"] == 3


def test_sequences_without_a_species_are_clustered_but_not_scored(run, folder, tmp_path):
    part = tmp_path / "part.tsv"
    read_tsv(folder / "truth.tsv").head(30).to_csv(part, sep="\t", index=False)
    status, out, _, said = run("cluster", "contigs.fa.gz", *TNF, "--k", 3, "--truth", part)
    assert status == 0 and len(read_tsv(out)) == 45
    assert f"15 of 45 sequences are not in {part} and not scored" in said


# --- classify ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(folder, contigs):
    """The first 9 contigs as a labelled table, as published evaluation files are."""
    rows = [f"{decode(codes)}\t{name}" for _, codes, name in list(zip(*contigs, strict=True))[:9]]
    (folder / "labelled.tsv").write_text("\n".join(["sequence\tspecies", *rows]) + "\n")
    return "labelled.tsv"


@pytest.mark.parametrize("shots", [[], ["--shots", "1"]])
def test_species_are_learned_from_a_labelled_table(run, contigs, labelled, shots):
    command = ["classify", "--train", labelled, "--predict", "contigs.fa.gz", *TNF, *shots]
    status, out, said, _ = run(*command, "--predict-truth", "truth.tsv")
    assert status == 0
    table = read_tsv(out)
    assert list(table) == ["name", "n_bases", "species", "probability", *SPECIES]
    assert table["name"].tolist() == contigs[0]
    right = (table["species"] == contigs[2]).mean()
    assert right == 1 if not shots else right > 0.8
    assert np.allclose(table[list(SPECIES)].sum(axis=1), 1, atol=1e-5)
    assert np.allclose(table[list(SPECIES)].max(axis=1), table["probability"])
    assert settings(out)["n_train"] == dict.fromkeys(SPECIES, 1 if shots else 3)
    assert f"accuracy\t{right:.4g}\n" in said


def test_more_shots_than_there_are_sequences_are_told(run, labelled):
    command = ["classify", "--train", labelled, "--predict", "contigs.fa.gz", *TNF]
    *_, said = run(*command, "--shots", 99)
    assert said == "3 of 3 species have fewer than 99 sequences to train on: 3 to 3 were used\n"
    assert run(*command, "--shots", 3)[3] == ""


def test_labelled_contigs_of_the_same_file_are_not_in_the_score(run, folder, tmp_path):
    few = tmp_path / "few.tsv"
    read_tsv(folder / "truth.tsv").head(6).to_csv(few, sep="\t", index=False)
    files = ["--train", "contigs.fa.gz", "--truth", few, "--predict", "contigs.fa.gz"]
    status, out, said, complaints = run("classify", *files, *TNF, "--predict-truth", "truth.tsv")
    assert status == 0 and len(read_tsv(out)) == 45
    assert "n_scored\t39\n" in said and "39 of 45 sequences" in complaints
    assert len(read_tsv(f"{out}.skipped.tsv")) == 0


def test_a_model_classifies_too_and_embeddings_do(run, labelled, tmp_path):
    model = ["--model", "model", "--cache", tmp_path / "kept"]
    command = ["classify", "--train", labelled, "--predict", "contigs.fa.gz", *model]
    status, out, *_ = run(*command)
    assert status == 0 and len(read_tsv(out)) == 45
    _, values, *_ = run("embed", "contigs.fa.gz", *model, out="e.npy")
    status, *_ = run("classify", "--train", values, "--truth", "truth.tsv", "--predict", values)
    assert status == 0


# --- bin -----------------------------------------------------------------------------------

BIN = ["bin", "contigs.fa.gz", *TNF, "--min-bp", 500, "--min-bin-size", 5]


def test_bins_without_a_label_and_a_fasta_of_each(run, contigs, tmp_path):
    fastas = tmp_path / "bins"
    command = [*BIN, "--gamma", "auto", "--truth", "truth.tsv", "--fasta-out", fastas]
    status, out, said, complaints = run(*command)
    assert (status, complaints) == (0, "")
    table = read_tsv(out)
    assert table["name"].tolist() == contigs[0]
    assert set(table["bin"]) <= {"bin_001", "bin_002", "bin_003", "unbinned"}
    binned = table[table["bin"] != "unbinned"]
    assert len(binned) >= 30 and (binned.groupby("bin")["species"].nunique() == 1).all()
    assert "70th percentile of the cosine between the two halves of 45 contigs" in said
    assert "purity_bp\t1\n" in said
    assert settings(out)["gamma"] == pytest.approx(float(said.split("gamma\t")[1][:6]), abs=1e-4)
    bins = read_tsv(f"{out}.bins.tsv")
    assert bins["n_contigs"].sum() == len(binned) and (bins["purity"] == 1).all()
    assert read_tsv(f"{out}.species.tsv")["species"].tolist() == list(SPECIES)
    for name, group in table.groupby("bin"):
        records = read_fasta(fastas / f"{name}.fa")
        assert records.names == group["name"].tolist()
        assert len(records.codes) == group["n_bases"].sum()
    assert {path.stem for path in fastas.iterdir()} == set(table["bin"])


@pytest.mark.parametrize(
    "inside", ["x.tsv", "x.tsv/bins", "x.tsv.json", "x.tsv.bins.tsv", "../out", ".."]
)
def test_bins_and_their_table_are_not_in_each_others_way(run, tmp_path, inside):
    fastas = tmp_path / "out" / inside
    status, out, _, said = run(*BIN, "--gamma", 0.9, "--fasta-out", fastas, out="x.tsv")
    assert status == 2 and said.count("\n") == 1 and not out.parent.exists()
    assert "are in each other's way" in said or "is not empty" in said


@pytest.mark.parametrize("was_there", [False, True])
def test_bins_do_not_stand_without_their_table(run, tmp_path, monkeypatch, was_there):
    fastas = tmp_path / "bins"
    if was_there:
        fastas.mkdir()
    write = binning.write_bin_fastas

    def write_and_fail(*arguments):
        write(*arguments)
        assert any(fastas.iterdir())
        raise OSError(28, "no space", "disk")

    monkeypatch.setattr(binning, "write_bin_fastas", write_and_fail)
    status, out, *_ = run(*BIN, "--gamma", 0.9, "--fasta-out", fastas)
    assert status == 1 and not list(out.parent.iterdir())
    assert fastas.exists() == was_there and not list(fastas.glob("*"))


def test_bins_by_a_given_gamma_from_embeddings_and_by_a_model(run):
    _, values, *_ = run("embed", "contigs.fa.gz", *TNF, out="e.npy")
    embedded = ["bin", values, "--min-bp", 500, "--min-bin-size", 5, "--gamma", 0.9]
    _, a, said, _ = run(*embedded, out="a.tsv")
    _, b, *_ = run(*BIN, "--gamma", 0.9, out="b.tsv")
    assert a.read_bytes() == b.read_bytes() and "gamma\t0.9000\tgiven" in said
    command = ["bin", "contigs.fa.gz", "--model", "model", "--min-bp", 500]
    status, out, *_ = run(*command, out="c.tsv")
    assert status == 0 and list(read_tsv(out)) == ["name", "n_bases", "bin"]


def test_gamma_is_taken_from_some_contigs_drawn_with_the_seed(run, monkeypatch):
    monkeypatch.setattr(binning, "MAX_HALVES", 20)
    found = [run(*BIN, "--seed", seed, out=f"{i}.tsv") for i, seed in enumerate((0, 0, 1))]
    assert "halves of 20 contigs" in found[0][2]
    gammas = [settings(out)["gamma"] for _, out, *_ in found]
    assert gammas[0] == gammas[1] != gammas[2]


def test_real_contigs_are_binned(run, data_dir):
    real = data_dir / "species" / "contigs"
    truth = ["--truth", real / "contigs.truth.tsv.gz"]
    status, out, *_ = run("bin", real / "contigs.fna.gz", *TNF, *truth)
    scores = settings(out)["scores"]
    assert status == 0 and scores["n_species"] == 25
    assert 0.4 < scores["f1"] < scores["f1_binned_only"] < 0.8 and scores["bins_50_10"] > 5
    status, out, *_ = run("cluster", real / "contigs.fna.gz", *TNF, *truth)
    found = settings(out)["scores"]
    assert 0.4 < found["ari_low"] < found["ari"] < found["ari_high"] < 0.8


# --- make-pairs ----------------------------------------------------------------------------


@pytest.fixture
def genomes(tmp_path, rng):
    """Three genome files, of two species in species.tsv."""
    for name in ("one", "two", "three"):
        codes = rng.integers(0, 4, 6000, dtype=np.uint8)
        write_fasta(tmp_path / f"{name}.fna.gz", [f"{name}_1", f"{name}_2"], np.split(codes, 2))
    table = "file\tspecies\none.fna.gz\tA\ntwo.fna.gz\tA\nthree.fna.gz\tB\n"
    (tmp_path / "species.tsv").write_text(table)
    return [tmp_path / f"{name}.fna.gz" for name in ("one", "two", "three")]


PAIRS = ["--n", 40, "--lengths-bp", 200, 500, "--seed", 3]


def test_pairs_are_windows_of_one_genome_in_the_published_format(run, genomes, tmp_path):
    command = ["make-pairs", *genomes, "--species-table", tmp_path / "species.tsv", *PAIRS]
    status, out, said, _ = run(*command, out="pairs.csv")
    assert status == 0 and "40 pairs of 3 genomes, 2 species" in said
    texts = [decode(read_fasta(path).codes) for path in genomes]
    strands = [
        text + "|" + decode(reverse_complement(read_fasta(path).codes))
        for text, path in zip(texts, genomes, strict=True)
    ]
    lines = [line.split(",") for line in out.read_text().splitlines()]
    assert len(lines) == 40 and {len(one) for pair in lines for one in pair} == {200, 500}
    assert all(any(a in one and b in one for one in strands) for a, b in lines)
    assert settings(out)["species_of_genome"] == {"one": "A", "two": "A", "three": "B"}
    assert len(read_pairs_csv(out, tmp_path / "read")) == 40
    again = run(*command, out="again.csv.gz")[1]
    assert gzip.decompress(again.read_bytes()) == out.read_bytes()
    assert {path.name for path in out.parent.iterdir() if "again" not in path.name} == {
        "pairs.csv",
        "pairs.csv.json",
        "pairs.csv.skipped.tsv",
    }


def test_pairs_have_errors_of_reads_when_asked(run, genomes, tmp_path):
    command = ["make-pairs", *genomes, "--species-table", tmp_path / "species.tsv", *PAIRS]
    plain = run(*command, out="plain.csv")[1]
    zero = run(*command, "--error-rate", 0, out="zero.csv")[1]
    assert zero.read_bytes() == plain.read_bytes()
    status, out, *_ = run(*command, "--error-rate", 0.1, out="errors.csv")
    assert status == 0 and settings(out)["settings"]["error_rate"] == 0.1
    lengths = [len(one) for one in out.read_text().replace("\n", ",").split(",")[:-1]]
    asked = [len(one) for one in plain.read_text().replace("\n", ",").split(",")[:-1]]
    assert lengths != asked and np.allclose(lengths, asked, rtol=0.15)


def test_a_pair_file_can_be_checked_and_its_faults_are_told(run, capsys, tmp_path):
    good = tmp_path / "good.csv"
    good.write_text("ACGT,ACGTACGT\nNNNN,ACGT\nGGGG,CCCC\n")

    def check():
        status = main.main(["make-pairs", "--check", str(good)])
        return status, *capsys.readouterr()

    status, said, complaints = check()
    assert status == 0 and "2 pairs, 1 lines left out" in said
    assert "line 2: no definite base, left out" in complaints
    for text, message in (
        ("sequence1,sequence2\nACGT,ACGT\n", "line 1: looks like a header"),
        ("ACGT,ACGT\nACGT\n", "line 2: 1 column(s), expected two"),
        ("", "no pairs"),
    ):
        good.write_text(text)
        status, _, complaints = check()
        assert status == 2 and message in complaints and complaints.count("\n") == 1
    status, out, _, complaints = run("make-pairs", "--check", good)
    assert status == 2 and "--check makes nothing: leave out genomes" in complaints
    assert not out.parent.exists()


def test_genomes_that_give_no_pairs_are_not_counted_and_told_why(run, genomes, tmp_path):
    (tmp_path / "small.fna").write_text(">s\nACGTACGT\n")
    (tmp_path / "unknown.fna").write_text(f">u\n{'N' * 5000}\n")
    more = [tmp_path / "small.fna", tmp_path / "unknown.fna"]
    status, out, said, complaints = run("make-pairs", *genomes, *more, *PAIRS, out="p.csv")
    assert status == 0 and "40 pairs of 3 genomes, 3 species" in said
    assert set(settings(out)["species_of_genome"]) == {"one", "two", "three"}
    skipped = read_tsv(f"{out}.skipped.tsv").set_index("name")["reason"]
    assert skipped["unknown"] == "no definite base (N only)" and "200 bp" in skipped["small"]
    assert complaints.startswith("left out 2 records: ")
    status, _, _, said = run("make-pairs", more[1], *PAIRS, out="q.csv")
    assert status == 2 and f"{more[1]}: no definite base (A, C, G or T)" in said
    status, _, _, said = run("make-pairs", *genomes, "--lengths-bp", 50_000, out="q.csv")
    assert status == 2 and "none of the 3 genomes has room for two windows of 50000 bp" in said
    assert "genomelm-species-" not in said and "give shorter --lengths-bp" in said


# --- errors --------------------------------------------------------------------------------

FASTAS = {
    "letter.txt": ("Dear colleague,\n", "not a sequence file: expected '>' (FASTA) or '@'"),
    "pairs.csv": ("ACGT,ACGT\n", "not a sequence file"),
    "empty.fa": ("", "the file is empty"),
    "protein.fa": (">a\nMKV*\n", "record 'a' holds '*' (is this a protein sequence?) at base 3"),
    "twice.fa": (">a\nACGTA\n>a\nACGTA\n", "two records are named 'a'"),
    "nothing.fa": (">a\n>b\nNNN\n", "nothing to read: 1 empty record, 1 no definite base (N only)"),
}


@pytest.mark.parametrize("name", FASTAS)
@pytest.mark.parametrize("how", [["--model", "model"], TNF])
def test_a_bad_sequence_file_is_told_in_one_sentence(run, tmp_path, name, how):
    text, message = FASTAS[name]
    (tmp_path / name).write_text(text)
    for command in (["embed"], ["cluster", "--k", 2], ["bin", "--min-bp", 1]):
        status, out, said, complaints = run(*command, tmp_path / name, *how, out="x.npy")
        assert (status, said) == (2, "") and complaints.count("\n") == 1
        assert message in complaints and str(tmp_path / name) in complaints
        assert complaints.startswith(f"{command[0]}: ") and "Traceback" not in complaints
        assert not list(out.parent.iterdir())


def test_a_truncated_gzip_is_told(run, folder, tmp_path):
    cut = tmp_path / "cut.fa.gz"
    cut.write_bytes((folder / "contigs.fa.gz").read_bytes()[:-40])
    status, _, _, complaints = run("embed", cut, *TNF, out="x.npy")
    assert status == 2 and "truncated or damaged compressed file" in complaints


ERRORS = {
    "no file": (["embed", "absent.fa", *TNF], "absent.fa: no such file, expected sequences"),
    "no model": (["embed", "contigs.fa.gz", "--model", "absent"], "absent: no such folder"),
    "suffix": (["embed", "contigs.fa.gz", *TNF], "a name that ends in .npy or .parquet"),
    "window": (["cluster", "contigs.fa.gz", "--k", 2, "--model", "model", "--window-bp", 0],
               "window_bp is 0, expected at least 1 base"),
    "device": (["cluster", "contigs.fa.gz", "--k", 2, "--model", "model", "--device", "tpu9"],
               "--device is 'tpu9', expected auto, cpu, cuda"),
    "cuda": (["cluster", "contigs.fa.gz", "--k", 2, "--model", "model", "--device", "cuda:99"],
             "CUDA devices are here; take cpu"),
    "meta": (["cluster", "contigs.fa.gz", "--k", 2, "--model", "model", "--device", "meta"],
             "--device is 'meta', expected auto, cpu"),
    "neither": (["cluster", "contigs.fa.gz", "--k", 3], "contigs.fa.gz holds sequences: give --mo"),
    "no k": (["cluster", "contigs.fa.gz", *TNF], "give --k, the number of clusters (or --truth"),
    "k": (["cluster", "contigs.fa.gz", *TNF, "--k", 46],
          "45 sequences cannot be put into 46 clusters, expected 1 to 45"),
    "no truth": (["cluster", "contigs.fa.gz", *TNF, "--truth", "absent.tsv"],
                 "absent.tsv: no such file, expected a table of contigs and species"),
    "unlabelled": (["classify", "--train", "contigs.fa.gz", "--predict", "contigs.fa.gz", *TNF],
                   "contigs.fa.gz has no species: give --truth"),
    "shots": (["classify", "--train", "contigs.fa.gz", "--truth", "truth.tsv", "--shots", 0,
               "--predict", "contigs.fa.gz", *TNF], "--shots is 0, expected 1 or more"),
    "leak": (["classify", "--train", "contigs.fa.gz", "--truth", "truth.tsv", "--predict",
              "contigs.fa.gz", *TNF, "--predict-truth", "truth.tsv"], "nothing to test"),
    "gamma": ([*BIN, "--gamma", 1.5], "gamma is 1.5, expected a cosine similarity in (0, 1)"),
    "few": (["bin", "contigs.fa.gz", *TNF, "--min-bp", 850],
            "gamma is taken from at least 20 contigs of 850 bp or more, found"),
    "short": (["bin", "contigs.fa.gz", *TNF], "45 shorter than 2500 bp"),
    "full": ([*BIN, "--fasta-out", "model"], "--fasta-out model is not empty; name a new folder"),
    "no genomes": (["make-pairs"], "give the FASTA files of the genomes and --out"),
    "no genome": (["make-pairs", "absent.fna"], "absent.fna: no such file; expected the FASTA"),
    "folder": (["make-pairs", "model"], "model: a folder, give its FASTA files"),
    "long": (["make-pairs", "contigs.fa.gz", "--lengths-bp", 5000],
             "none of the 1 genomes has room for two windows of 5000 bp"),
    "a folder": (["embed", "model", *TNF], "model: a folder, expected sequences or embeddings"),
    "a folder of truth": (["cluster", "contigs.fa.gz", *TNF, "--truth", "model"],
                          "model: a folder, expected a table of contigs and species"),
    "same": (["make-pairs", "contigs.fa.gz", "../x/contigs.fa.gz"], "no such file"),
}  # fmt: skip


@pytest.mark.parametrize("what", ERRORS)
def test_an_error_is_one_sentence_and_leaves_nothing(run, what):
    command, message = ERRORS[what]
    out_name = "x.npy" if what in ("no file", "no model", "a folder") else "x.tsv"
    status, out, said, complaints = run(*command, out=out_name)
    assert (status, said) == (2, "")
    assert message in complaints and complaints.count("\n") == 1
    assert not out.parent.exists() or not list(out.parent.iterdir())


OVERWRITES = {
    "input": (["cluster", "a/c.fa", *TNF, "--k", 3], "a/c.fa"),
    "another spelling": (["cluster", "a/../a/c.fa", *TNF, "--k", 3], "a/c.fa"),
    "a link": (["cluster", "a/link.fa", *TNF, "--k", 3], "a/c.fa"),
    "truth": (["cluster", "a/c.fa", *TNF, "--truth", "a/t.tsv"], "a/t.tsv"),
    "train": (["classify", "--train", "a/l.tsv", "--predict", "a/c.fa", *TNF], "a/l.tsv"),
    "predict": (["classify", "--train", "a/l.tsv", "--predict", "a/c.fa", *TNF], "a/c.fa"),
    "predict truth": (["classify", "--train", "a/l.tsv", "--predict", "a/c.fa", *TNF,
                       "--predict-truth", "a/t.tsv"], "a/t.tsv"),
    "genome": (["make-pairs", "a/l.fa", "a/c.fa", "--lengths-bp", 100], "a/c.fa"),
    "table": (["make-pairs", "a/c.fa", "--species-table", "a/t.tsv"], "a/t.tsv"),
    "names": (["cluster", "a/e.npy", "--k", 3], "a/e.npy.names.csv"),
    "names beside": (["embed", "a/x.npy.names.csv", *TNF], "a/x.npy"),
    "settings beside": (["cluster", "a/c.fa", "--model", "a/model", "--k", 3], "a/model/config"),
    "bins beside": (["bin", "a/c.fa", *TNF, "--truth", "a/b.bins.tsv"], "a/b"),
    "species beside": (["bin", "a/c.fa", *TNF, "--truth", "a/b.species.tsv"], "a/b"),
    "skipped beside": (["bin", "a/c.fa", *TNF, "--truth", "a/b.skipped.tsv"], "a/b"),
}  # fmt: skip


@pytest.mark.parametrize("what", OVERWRITES)
def test_what_is_read_is_never_overwritten(tmp_path, monkeypatch, capsys, what):
    command, out = OVERWRITES[what]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "model").mkdir(parents=True)
    (tmp_path / "a" / "link.fa").symlink_to("c.fa")
    names = ["c.fa", "l.fa", "l.tsv", "t.tsv", "e.npy", "e.npy.names.csv", "x.npy.names.csv"]
    names += ["model/config.json", "b.bins.tsv", "b.species.tsv", "b.skipped.tsv"]
    for name in names:
        (tmp_path / "a" / name).write_text(f"mine, {name}")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    status = main.main([*map(str, command), "--out", out])
    said = capsys.readouterr()
    assert (status, said.out) == (2, "") and said.err.count("\n") == 1
    assert "is an input and would be overwritten; give --out another name" in said.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


TRUTHS = {
    "columns": ("a\tb\n1\t2\n", "found the columns a, b; expected tab-separated columns contig"),
    "twice": ("contig\tspecies\nc01\tA\nc01\tB\n", "'c01' stands in more than one row"),
    "strangers": (
        "contig\tspecies\nx\tA\n",
        "a species for none of the 45 sequences: it names 'x'",
    ),
    "one species": ("contig\tspecies\nc01\tA\nc02\tA\n", "all 2 sequences with a species are 'A'"),
    "one each": ("contig\tspecies\nc01\tA\nc02\tB\n", "2 sequences of 2 species, one of each"),
    "empty": ("", "is no tab-separated table"),
}


@pytest.mark.parametrize("what", TRUTHS)
def test_a_bad_table_of_species_is_told(run, tmp_path, what):
    text, message = TRUTHS[what]
    path = tmp_path / "mine.tsv"
    path.write_text(text)
    status, _, _, complaints = run("cluster", "contigs.fa.gz", *TNF, "--truth", path)
    assert status == 2 and message in complaints and complaints.startswith(f"cluster: {path}")
    if what == "one each":  # enough to learn from, though
        files = ["--train", "contigs.fa.gz", "--truth", path, "--predict", "contigs.fa.gz"]
        assert run("classify", *files, *TNF)[0] == 0


@pytest.mark.parametrize(
    "command",
    [
        ["cluster", "contigs.fa.gz", "--k", 3, "--truth", "absent.tsv"],
        ["cluster", "contigs.fa.gz", "--k", 0],
        ["bin", "contigs.fa.gz", "--truth", "absent.tsv"],
        ["bin", "contigs.fa.gz", "--gamma", 2],
        ["bin", "contigs.fa.gz", "--min-bin-size", 0],
        ["classify", "--train", "contigs.fa.gz", "--truth", "absent.tsv", "--predict", "truth.tsv"],
        ["classify", "--train", "contigs.fa.gz", "--truth", "truth.tsv", "--predict", "absent.fa"],
    ],
)
def test_what_can_be_told_at_once_is_told_before_hours_of_embedding(run, monkeypatch, command):
    def embed_for_hours(*_):
        raise AssertionError("must not come to this")

    monkeypatch.setattr(inputs.Maker, "of_file", embed_for_hours)
    status, _, _, complaints = run(*command, *TNF)
    assert status == 2 and complaints.count("\n") == 1


def change_weights(folder, to, change):
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    weights = load_file(to / "model.safetensors")
    change(weights)
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})


def test_a_bad_checkpoint_is_told(run, folder, tmp_path):
    def add(weights):
        weights["encoder.extra"] = torch.zeros(2)

    changes = {
        "missing": (lambda weights: weights.pop(min(weights)), "missing"),
        "unexpected": (add, "encoder.extra"),
    }
    for name, (change, message) in changes.items():
        change_weights(folder / "model", tmp_path / name, change)
        status, _, _, said = run("embed", "contigs.fa.gz", "--model", tmp_path / name, out="x.npy")
        assert status == 2 and message in said and said.count("\n") == 1
    bare = tmp_path / "bare"
    change_weights(folder / "model", bare, lambda _: None)
    (bare / "tokenizer.json").unlink()
    status, _, _, said = run("embed", "contigs.fa.gz", "--model", bare, out="x.npy")
    assert status == 2 and "has no tokenizer" in said
    (bare / "config.json").unlink()
    status, _, _, said = run("embed", "contigs.fa.gz", "--model", bare, out="x.npy")
    assert status == 2 and "has no config.json" in said


def test_embeddings_are_not_embedded_and_not_mixed(run, labelled):
    _, values, *_ = run("embed", "contigs.fa.gz", *TNF, out="e.npy")
    status, _, _, said = run("cluster", values, "--k", 3, *TNF)
    assert status == 2 and "holds embeddings already: leave out --model and --features" in said
    status, _, _, said = run("bin", values, "--min-bp", 500)
    assert status == 2 and "--gamma auto and --fasta-out need FASTA" in said
    _, narrow, *_ = run("embed", "contigs.fa.gz", "--model", "model", out="m.npy")
    files = ["--train", values, "--truth", "truth.tsv", "--predict", narrow]
    status, _, _, said = run("classify", *files)
    assert status == 2 and "136 numbers per sequence" in said and "32" in said
    narrow.write_bytes(b"not numbers")
    status, _, _, said = run("cluster", narrow, "--k", 3)
    assert status == 2 and "m.npy is no file of embeddings" in said


MODEL_ONLY = [
    ["--strands", "both"],
    ["--window-bp", 5000],
    ["--overlap", 0.2],
    ["--ambiguous", "skip"],
    ["--dtype", "fp32"],
    ["--device", "cpu"],
    ["--cache", "kept"],
]


@pytest.mark.parametrize("option", MODEL_ONLY)
def test_what_only_a_model_uses_is_not_ignored_without_one(run, option):
    for command in (["embed"], ["cluster", "--k", 3], ["bin"]):
        status, out, _, said = run(*command, "contigs.fa.gz", *TNF, *option, out="x.npy")
        assert status == 2 and f"only a --model uses {option[0]}: leave that out" in said
        assert said.count("\n") == 1 and not out.parent.exists()
        assert ("canonical_tnf counts both strands" in said) == (option[0] == "--strands")
    status, *_, said = run("cluster", "contigs.fa.gz", "--k", 3, *option)
    assert status == 2 and "only a --model uses" in said
    assert {name.split("--")[1].replace("-", "_") for name, _ in MODEL_ONLY} == set(
        options.MODEL_OPTIONS
    )


def test_embeddings_that_are_all_too_short_are_told(run):
    _, values, *_ = run("embed", "contigs.fa.gz", *TNF, out="e.npy")
    status, _, _, said = run("bin", values, "--gamma", 0.9)
    assert status == 2 and "all 45 sequences are shorter than 2500 bp" in said


def test_names_of_genomes_must_be_told_apart_and_known(run, genomes, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "one.fna.gz").write_bytes(genomes[0].read_bytes())
    status, _, _, said = run("make-pairs", *genomes, other / "one.fna.gz", *PAIRS)
    assert status == 2 and "two genome files are named 'one'" in said
    (other / "one.fna.gz").rename(other / "four.fna.gz")
    status, _, _, said = run("make-pairs", *genomes, other / "four.fna.gz", *PAIRS)
    assert status == 2 and "one_1" in said  # a record of that name in two files
    table = tmp_path / "species.tsv"
    command = ["make-pairs", other / "four.fna.gz", "--species-table", table, *PAIRS]
    status, _, _, said = run(*command)
    assert status == 2 and "1 genome files have no row: four.fna.gz" in said
    table.write_text("")
    status, _, _, said = run(*command)
    assert status == 2 and f"{table} is no tab-separated table" in said


def test_an_interrupted_or_failed_run_leaves_the_earlier_result(run, monkeypatch):
    command = ["cluster", "contigs.fa.gz", *TNF, "--k", 3]
    _, out, *_ = run(*command)
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_outputs.Output, "write_settings", stop)
    status, _, _, said = run(*command, "--seed", 1)
    assert status == 130 and said == "cluster: interrupted, nothing was written\n"
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before


def test_no_space_and_no_permission_are_told(run, monkeypatch):
    for number, status in ((28, 1), (13, 2)):

        def fail(*_, number=number):
            raise OSError(number, os.strerror(number), "disk")

        monkeypatch.setattr(commands, "write_features", fail)
        found, _, _, said = run("embed", "contigs.fa.gz", *TNF, out="e.npy")
        assert found == status and said == f"embed: disk: {os.strerror(number)}\n"


@pytest.mark.parametrize("text", ["", "Unable to allocate 9 EiB"])
def test_too_little_memory_is_told(run, monkeypatch, text):
    def fail(*_):
        raise MemoryError(text)

    monkeypatch.setattr(commands, "write_features", fail)
    status, _, _, said = run("embed", "contigs.fa.gz", *TNF, out="e.npy")
    assert status == 1 and said.startswith("embed: out of memory") and text in said


NAME_FILES = {
    "no names": ("contig,n_bases\na,5\nb,6\n", "no column 'name', found contig, n_bases"),
    "no lengths": ("name\na\nb\n", "no column 'n_bases'"),
    "text": ("name,n_bases\na,long\nb,6\n", "the column n_bases does not hold whole numbers"),
    "gap": ("name,n_bases\na,\nb,6\n", "the column n_bases does not hold whole numbers"),
    "twice": ("name,n_bases\na,5\na,6\n", "'a' stands in more than one row"),
    "none": ("name,n_bases\n", "names no sequences"),
    "more": ("name,n_bases\na,5\nb,6\nc,6\n", "2 rows and e.npy.names.csv 3 names"),
    "empty": ("", "is no file of embeddings"),
}


@pytest.mark.parametrize("what", NAME_FILES)
def test_a_bad_table_of_names_is_told(run, tmp_path, what):
    text, message = NAME_FILES[what]
    path = tmp_path / "e.npy"
    np.save(path, np.ones((2, 3), np.float32))
    (tmp_path / "e.npy.names.csv").write_text(text)
    status, _, _, said = run("cluster", path, "--k", 2)
    assert status == 2 and message in said and said.count("\n") == 1


@pytest.mark.parametrize("values", [np.ones(2), np.ones((2, 3), int), np.full((2, 2), "a")])
def test_numbers_that_are_no_embeddings_are_told(run, tmp_path, values):
    path = tmp_path / "e.npy"
    np.save(path, values)
    (tmp_path / "e.npy.names.csv").write_text("name,n_bases\na,5\nb,6\n")
    status, _, _, said = run("cluster", path, "--k", 2)
    assert status == 2 and "expected floating-point numbers" in said and said.count("\n") == 1


def test_a_missing_package_is_told_before_anything_is_computed(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(inputs.Maker, "of_file", None)
    status, _, _, said = run("embed", "contigs.fa.gz", *TNF, out="e.parquet")
    assert status == 2 and "pyarrow" in said and said.count("\n") == 1


def test_warnings_of_libraries_are_one_line_each(run, tmp_path):
    copies = tmp_path / "copies.fa"
    copies.write_text("".join(f">{i}\nACGTACGTAC\n" for i in range(4)))
    status, _, _, said = run("cluster", copies, *TNF, "--k", 3)
    assert status == 0 and said.startswith("warning: Number of distinct clusters (1) found")
    assert said.count("\n") == 1


# --- the command line ----------------------------------------------------------------------


def test_what_the_parser_knows_is_what_the_package_knows():
    assert options.LENGTHS_BP == species_pairs.LENGTHS_BP
    assert options.WINDOW_BP == embedding.WINDOW_BP
    assert set(options.FEATURES) < set(species_features.SPECIES_BASELINES)
    assert options.SHOTS == species_classification.SHOTS
    assert set(options.PRESETS) == set(ALIBI_PRESETS)
    assert set(options.EXAMPLES) == set(options.COMMANDS)


@pytest.mark.parametrize("name", options.COMMANDS)
def test_every_command_shows_an_example(capsys, name):
    with pytest.raises(SystemExit) as left:
        main.main([name, "--help"])
    assert left.value.code == 0
    assert f"  python -m genomelm_utils.species {name} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["embed", "x.fa", "--out", "y.npy"],
            "one of the arguments --model --features is required",
        ),
        (["embed", "x.fa", "--out", "y.npy", "--features", "gc"], "invalid choice: 'gc'"),
        (["bin", "x.fa", "--out", "y.tsv", "--gamma", "high"], "expected auto or a number between"),
        (["bin", "x.fa", "--out", "y.tsv", "--seed", "-1"], "is '-1', expected a whole number"),
        ([], "the following arguments are required: command"),
        (
            ["embed", "x.fa", "--out", "y.npy", "--min-bp", "0"],
            "is '0', expected a whole number, 1",
        ),
        (
            ["bin", "x.fa", "--out", "y.tsv", "--min-bp", "-5"],
            "is '-5', expected a whole number, 1",
        ),
        (["make-pairs", "x.fa", "--out", "y.csv", "--n", "0"], "--n: is '0', expected a whole"),
        (["make-pairs", "x.fa", "--out", "y", "--lengths-bp", "0"], "--lengths-bp: is '0', expect"),
    ],
)
def test_a_wrong_request_is_told(capsys, command, message):
    with pytest.raises(SystemExit) as left:
        main.main(command)
    assert left.value.code == 2 and message in capsys.readouterr().err


def test_the_module_runs(folder, tmp_path):
    command = [sys.executable, "-m", "genomelm_utils.species", "embed", folder / "contigs.fa.gz"]
    out = tmp_path / "e.npy"
    done = subprocess.run(
        [*command, "--model", folder / "model", "--out", out],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{out}: 45 sequences x 32 numbers\n" and out.is_file()
