"""Parameters that contradict each other are named before anything starts."""

import os
import subprocess
import sys

import pytest

from genomelm_utils import paths
from genomelm_utils.models.alibi_config import ALIBI_PRESETS, alibi_config
from genomelm_utils.pipeline.checks import ALIBI_LAYERS, CHECKS, MIN_BPE_VOCAB, checked_names
from genomelm_utils.pipeline.params import read_schema
from genomelm_utils.pipeline.profile import load_profile
from genomelm_utils.tokenizers.bpe import MIN_VOCAB

PRETRAINING = "params/demo.yaml: 04_pretraining/genemask"
PROMOTER = "params/demo.yaml: 05_fewshot/promoter"
USER = "05_fewshot/promoter.dataset=user"


@pytest.mark.parametrize("stage", CHECKS)
def test_checks_are_about_parameters_that_the_notebook_declares(stage):
    """A check about a parameter that is gone would be left out in silence."""
    names = checked_names(CHECKS[stage])
    assert names
    assert set(names) <= set(read_schema(paths.notebook_file(stage)).by_name)


def test_smallest_vocabulary_is_that_of_the_trainer():
    assert MIN_BPE_VOCAB == MIN_VOCAB


def test_layers_are_those_of_the_presets():
    made = {name: alibi_config(name).num_hidden_layers for name in ALIBI_PRESETS}
    assert made == ALIBI_LAYERS


@pytest.mark.parametrize("name", ["demo", "small", "paper"])
def test_shipped_profiles_pass(name):
    assert load_profile(name).runs


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["04_pretraining/genemask.micro_batches=50"],
            f"{PRETRAINING}.micro_batches is 50, expected at most rows_per_step (24)",
        ),
        (
            ["04_pretraining/genemask.steps=20", "04_pretraining/genemask.warmup_steps=30"],
            f"{PRETRAINING}.warmup_steps is 30, expected at most steps (20)",
        ),
        (
            ["04_pretraining/genemask.max_bases=132"],
            f"{PRETRAINING}.max_bases is 132, expected at most 131: more than max_positions (128)",
        ),
        (
            ["04_pretraining/genemask.preset=dnabert4"],
            f"{PRETRAINING}.preset is 'dnabert4', expected 'dnabert6', or another k",
        ),
        (
            ["09_species_pretraining.objective=curriculum", "09_species_pretraining.steps=2"],
            "params/demo.yaml: 09_species_pretraining.steps is 2, expected at least 3",
        ),
        (
            ["09_species_pretraining.pairs_file=a.csv", "09_species_pretraining.error_rate=0.1"],
            "09_species_pretraining.error_rate is 0.1, expected 0: pairs are read from pairs_file",
        ),
        (
            [
                "09_species_pretraining.objective=curriculum",
                "09_species_pretraining.steps=100",
                "09_species_pretraining.first_steps=100",
            ],
            "09_species_pretraining.first_steps is 100, expected below steps (100)",
        ),
        (
            ["09_species_pretraining.objective=simclr", "09_species_pretraining.first_steps=9"],
            "09_species_pretraining.first_steps is 9, expected 0: objective is simclr",
        ),
        (
            ["09_species_pretraining.objective=mix", "09_species_pretraining.mix_layer=1"],
            "09_species_pretraining.mix_layer is 1, expected -1 to 0: preset pico has 1 layers",
        ),
        (
            ["09_species_pretraining.method=double_strand"],
            "09_species_pretraining.strands is 'both', expected random or forward",
        ),
        (
            ["09_species_pretraining.method=dropout"],
            "09_species_pretraining.dropout is 0.0, expected above 0: with method dropout",
        ),
        (
            ["09_species_pretraining.chunk_pairs=90"],
            "09_species_pretraining.chunk_pairs is 90, expected at most batch_pairs (",
        ),
        (
            ["10_clustering_binning.contigs_from=files"],
            "10_clustering_binning.files is [], expected 2 files: contigs_from is files",
        ),
        (
            ["10_clustering_binning.n_per_genome=20"],
            "10_clustering_binning.shots is [1, 2, 5, 10, 20], expected below n_per_genome (20)",
        ),
        (
            ["01_data/simulated.kind=genome"],
            "params/demo.yaml: 01_data/simulated.files is [], expected FASTA files: kind is genome",
        ),
        (
            ["01_data/simulated.kind=tables"],
            "01_data/simulated.files is [], expected labelled tables, or folders of them",
        ),
        (
            ["01_data/promoters.expression_set=nam"],
            "01_data/promoters.files is [], expected the folder of the set: expression_set is nam",
        ),
        (
            ["01_data/promoters.split=published"],
            "01_data/promoters.split is 'published', expected corrected or reference",
        ),
        (
            ["01_data/species.n_train=54"],
            "01_data/species.n_train is 54, expected below n_species (54): some have to be left",
        ),
        (
            ["01_data/species.files=[genomes/bacteria/]"],
            "expected genome files or folders of them, and one table of their species (.tsv)",
        ),
        (
            ["01_data/species.files=[species/genomes.tsv]"],
            "expected genome files or folders of them, and one table of their species (.tsv)",
        ),
        (
            ["01_data/simulated.together=[A a|B b]"],
            "together is ['A a|B b'], expected []: kind is simulate, which has no species",
        ),
        (
            ["03_tokenizers/species.tokenizer_folder=params"],
            "03_tokenizers/species.bpe_vocab is 512, expected 0: the vocabulary is read from token",
        ),
        (
            ["03_tokenizers/species.bpe_vocab=8"],
            "03_tokenizers/species.bpe_vocab is 8, expected 0 (none), or at least 9",
        ),
        (
            ["05_fewshot/promoter.simulated=''"],
            f"{PROMOTER}.simulated is '', expected a run of 01_data: dataset is simulated-promoter",
        ),
        ([USER], f"{PROMOTER}.train_file is '', expected a table with the columns sequence and"),
        ([USER, "05_fewshot/promoter.train_file=a.tsv"], f"{PROMOTER}.test_file is '', expected"),
        (
            ["05_fewshot/promoter.as_shipped=true", "05_fewshot/promoter.draws=1"],
            f"{PROMOTER}.as_shipped is True, expected False: dataset is simulated-promoter",
        ),
        (
            ["05_fewshot/promoter.keep_quotes=true"],
            f"{PROMOTER}.keep_quotes is True, expected False",
        ),
        (
            ["05_fewshot/promoter.dataset=Prom-core", "05_fewshot/promoter.as_shipped=true"],
            f"{PROMOTER}.draws is 3, expected 1: one draw is published (as_shipped)",
        ),
    ],
)
def test_a_contradiction_is_named(settings, message):
    with pytest.raises(ValueError) as caught:
        load_profile("demo", tuple(settings))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        ["04_pretraining.micro_batches=24"],
        ["04_pretraining.steps=50"],
        ["04_pretraining.max_bases=131"],
        ["04_pretraining.preset=dnabert5", "04_pretraining.k=5", "04_pretraining.max_bases=130"],
        ["01_data/simulated.kind=fewshot"],
        ["01_data/species.n_train=13"],
        ["01_data/species.files=[genomes/bacteria/, species/genomes.tsv]"],
        ["03_tokenizers.bpe_vocab=9"],
        ["03_tokenizers.bpe_vocab=0", "03_tokenizers.tokenizer_folder=params"],
        [USER, "05_fewshot/promoter.train_file=a.tsv", "05_fewshot/promoter.test_file=b.tsv"],
        [
            "05_fewshot/promoter.dataset=Prom-core",
            "05_fewshot/promoter.simulated=''",
            "05_fewshot/promoter.as_shipped=true",
            "05_fewshot/promoter.keep_quotes=true",
            "05_fewshot/promoter.draws=1",
        ],
    ],
)
def test_the_limit_itself_passes(settings):
    load_profile("demo", tuple(settings))


@pytest.mark.parametrize("action", ["plan", "run"])
def test_plan_and_run_say_it_before_anything_starts(action, tmp_path):
    for name in ("notebooks", "params", "data"):
        (tmp_path / name).mkdir()
        for file in (paths.ROOT / name).iterdir():
            if file.is_file():
                (tmp_path / name / file.name).write_bytes(file.read_bytes())
    command = [sys.executable, str(paths.ROOT / "run_all.py"), action, "--profile", "demo"]
    done = subprocess.run(
        [*command, "--set", "04_pretraining.micro_batches=50"],
        env={**os.environ, "GENOMELM_ROOT": str(tmp_path), "PYTHONPATH": str(paths.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "04_pretraining/contiguous.micro_batches is 50, expected at most rows_per_step (24)" in (
        done.stderr
    )
    assert not (tmp_path / "data/runs/demo/00_environment").exists()
