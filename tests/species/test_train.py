"""`species train`: an encoder of a person's genomes, what it says, that it goes on and loads."""

import json

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets.species_pairs import PairSampler
from genomelm_utils.sequences.fasta import read_fasta, write_fasta
from genomelm_utils.sequences.simulate_species import simulate_species
from genomelm_utils.species import main, train
from genomelm_utils.tasks import species_training
from genomelm_utils.tasks.embedding_models import load_encoder
from genomelm_utils.tokenizers.bpe import train_bpe_on_store

N_GENOMES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six genomes of 20 kb, of five species in species.tsv."""
    folder = tmp_path_factory.mktemp("genomes")
    rng = np.random.default_rng(3)
    simulated = simulate_species(rng, n_species=N_GENOMES, bases_per_species=20_000)
    codes = np.split(simulated.codes, simulated.starts[1:-1])
    which = pd.factorize(simulated.table["genome"])[0]
    rows = []
    for i in range(N_GENOMES):
        records = [codes[j] for j in np.flatnonzero(which == i)]
        names = [f"g{i}_{j}" for j in range(len(records))]
        write_fasta(folder / f"g{i}.fna.gz", names, records)
        rows.append({"file": f"g{i}.fna.gz", "species": f"Genus s{max(i, 1)}"})
    pd.DataFrame(rows).to_csv(folder / "species.tsv", sep="\t", index=False)
    return folder


@pytest.fixture
def run(folder, tmp_path, call_main, monkeypatch):
    """run(*arguments): (status, out folder, stdout, stderr), of `train` on the six genomes."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(train, "VOCAB_SIZE", 64)
    monkeypatch.setattr(train, "VALID_BATCHES", 1)
    out = tmp_path / "mine"

    def call(*arguments, genomes=None):
        files = sorted(folder.glob("*.fna.gz")) if genomes is None else genomes
        status, *said = call_main("train", *files, *arguments, "--out", out)
        return status, out, *said

    return call


SMALL = ["--table", "species.tsv", "--lengths-bp", 200, "--steps", 4]


def read_tsv(path):
    return pd.read_csv(path, sep="\t")


def test_an_encoder_is_trained_and_loads_and_says_where_settings_come_from(run, folder):
    status, out, said, complaints = run(*SMALL)
    assert status == 0, complaints
    model, tokenizer = load_encoder(out)
    assert len(tokenizer) == model.config.vocab_size == 64
    genomes = read_tsv(out / "genomes.tsv")
    held = genomes[genomes["part"] == "test"]
    assert len(genomes) == N_GENOMES and 1 <= held["species"].nunique() <= 2
    n_species = genomes.loc[genomes["part"] == "train", "species"].nunique()
    assert not set(held["species"]) & set(genomes.loc[genomes["part"] == "train", "species"])
    assert f"{n_species} species" in said and "retrieval\t" in said
    n_pairs = -(-16 // n_species) * n_species
    for line in (
        "steps: 4 (--steps)",
        "lengths_bp: (200,) (--lengths-bp)",
        f"batch_pairs: {n_pairs} (every species equally often, 16 to 48: {n_species} species)",
        f"valid_pairs: {n_pairs} (1 batches)",
        "preset: nano (--preset)",
        "peak_lr: 0.003 (from random weights, without --start, as in the small profile)",
    ):
        assert line in complaints
    record = json.loads((out / "training.json").read_text())
    assert record["chosen"]["batch_pairs"]["value"] == n_pairs
    assert len(record["inputs"]["species.tsv"]) == 64
    assert len(record["inputs"]) == N_GENOMES + 1
    history = read_tsv(out / "history.tsv")
    assert history["step"].max() == 4 and len(read_tsv(out / "phases.tsv")) == 1
    truth, contigs = read_tsv(out / "test.tsv"), read_fasta(out / "test.fa.gz")
    assert contigs.names == truth["contig"].tolist()
    assert set(truth["species"]) == set(held["species"])
    assert sorted(path.name for path in out.parent.iterdir()) == ["mine"]  # nothing is left beside


def test_what_is_held_out_can_be_scored_at_once(run, tmp_path, capsys):
    _, out, said, _ = run(*SMALL, "--test-share", 0.4, "--seed", 1)
    assert "test it with\teval" in said
    scores = tmp_path / "scores.tsv"
    command = ["eval", out / "test.fa.gz", "--truth", out / "test.tsv", "--model", out]
    assert main.main([*map(str, command), "--out", str(scores)]) == 0, capsys.readouterr().err
    assert set(read_tsv(scores)["method"]) == {"model", "canonical_tnf"}


def test_a_stopped_training_goes_on_to_the_same_weights(run, monkeypatch):
    _, out, *_ = run(*SMALL)
    whole = (out / "model.safetensors").read_bytes()
    for path in out.iterdir():
        path.unlink()
    out.rmdir()
    fit, calls = species_training.validate_pairs, []

    def stop_at_the_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit(*arguments)

    monkeypatch.setattr(species_training, "validate_pairs", stop_at_the_third)
    status, _, _, complaints = run(*SMALL)
    assert status == 130 and complaints.endswith("train: interrupted, the same command goes on\n")
    assert not out.exists() and (out.parent / ".mine.training").is_dir()
    monkeypatch.setattr(species_training, "validate_pairs", fit)
    status, *_ = run(*SMALL)
    assert status == 0 and (out / "model.safetensors").read_bytes() == whole


def test_a_pretrained_folder_brings_its_tokenizer_and_the_published_settings(run, tmp_path):
    _, out, *_ = run(*SMALL)
    start = out.rename(tmp_path / "start")
    status, out, _, complaints = run(*SMALL, "--start", start)
    assert status == 0, complaints
    for line in (
        "objective: curriculum (from --start)",
        "peak_lr: 3e-06 (from --start, as published)",
        "head_dim: 128 (from --start, as published)",
    ):
        assert line in complaints
    assert "preset:" not in complaints
    assert read_tsv(out / "phases.tsv")["objective"].tolist() == ["weighted_simclr", "mix"]
    assert (out / "tokenizer.json").read_bytes() == (start / "tokenizer.json").read_bytes()
    for option in (["--preset", "micro"], ["--tokenizer", start]):
        status, _, _, complaints = run(*SMALL, "--start", start, *option)
        assert status == 2  # the folder is there already
    out.rename(tmp_path / "away")
    status, _, _, complaints = run(*SMALL, "--start", start, "--preset", "micro")
    assert status == 2 and "--start brings its own network and tokenizer" in complaints


def test_a_tokenizer_of_ones_own_and_errors_of_reads(run, tmp_path, monkeypatch):
    rates = {}

    class Sampler(PairSampler):
        def __init__(self, genomes, part, **options):
            rates[part] = options["error_rate"]
            super().__init__(genomes, part, **options)
            if not (tmp_path / "bpe").exists():
                train_bpe_on_store(genomes.store, 40, 50_000).save_pretrained(tmp_path / "bpe")

    from genomelm_utils.datasets import species_pairs

    monkeypatch.setattr(species_pairs, "PairSampler", Sampler)
    _, out, *_ = run(*SMALL)
    assert rates == {"train": 0.0, "valid": 0.0}
    out.rename(tmp_path / "first")
    status, out, *_ = run(*SMALL, "--tokenizer", tmp_path / "bpe", "--error-rate", 0.1)
    assert status == 0 and rates == {"train": 0.1, "valid": 0.0}
    assert load_encoder(out)[0].config.vocab_size == 40


def test_bad_requests_are_one_sentence_and_leave_nothing(run, folder, tmp_path):
    genomes = sorted(folder.glob("*.fna.gz"))
    # with which the species of two genomes is dealt first, and fills the training
    seed = next(s for s in range(99) if np.random.default_rng(s).permutation(5)[0] == 0)
    for arguments, files, message in (
        (SMALL, genomes[:3], "3 genomes of 2 species: expected at least three"),
        ([*SMALL, "--test-share", 0.9, "--seed", seed], genomes, "expected two or more"),
        ([*SMALL, "--tokenizer", tmp_path / "absent"], genomes, "tokenizer.json does not exist"),
        ([*SMALL, "--start", folder], genomes, "tokenizer.json does not exist"),
        (["--table", "absent.tsv"], genomes, "absent.tsv: no such file, expected a table of"),
        (["--table", "species.tsv", "--lengths-bp", 50_000], genomes, "no contig of 50000 bp fits"),
        (SMALL, [folder / "absent.fa"], "absent.fa: no such file"),
    ):
        status, out, said, complaints = run(*arguments, genomes=files)
        assert (status, said) == (2, "") and message in complaints, complaints
        assert complaints.splitlines()[-1].startswith("train: ") and not out.exists()
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    status, _, _, complaints = run(*SMALL)
    assert status == 2 and f"{out} is not empty; name a new folder" in complaints


@pytest.mark.parametrize("share", ["0", "1", "-0.1", "half"])
def test_a_share_that_is_none_is_told(run, capsys, share):
    with pytest.raises(SystemExit):
        run(*SMALL, "--test-share", share)
    assert f"is '{share}', expected a share" in capsys.readouterr().err
