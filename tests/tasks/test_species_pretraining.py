"""Pieces of notebook 09: phases, pairs as a table, where training starts, tables without times."""

from pathlib import Path

import pytest
import torch
from species_toy import VOCAB, Toy, make_toy

from genomelm_utils.datasets.species_pair_files import write_pairs_csv
from genomelm_utils.models.alibi_layers import Dropout
from genomelm_utils.pretraining.token_bits import freeze_tokens
from genomelm_utils.tasks import species_pretraining as training
from genomelm_utils.tasks.embedding_models import load_encoder
from genomelm_utils.tasks.species_training import Phase, curriculum
from genomelm_utils.tasks.token_mlm import pretrain_alibi_mlm
from genomelm_utils.training.history import TIMING

LENGTHS_BP = (100, 150)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Toy(make_toy(tmp_path_factory.mktemp("toy")))


def build(toy, start=None, **changes):
    settings = {"dropout": 0.0, "seed": 1, **changes}
    return training.build_encoder(start, "nano", len(toy.tokenizer), **settings)


def test_phases_are_the_curriculum_or_one_objective():
    assert training.make_phases("curriculum", 9, 1) == curriculum(9, 1)
    assert training.make_phases("curriculum", 9, 1, 2) == curriculum(9, 1, first_steps=2)
    assert training.make_phases("simclr", 9) == (Phase("simclr", 9),)
    with pytest.raises(ValueError, match="first_steps is 4, expected 0: objective simclr has one"):
        training.make_phases("simclr", 9, first_steps=4)


def test_pairs_are_shown_where_they_lie(toy):
    sampler = toy.sampler()
    table = training.show_pairs(sampler, 12)
    windows = sampler.pairs(0, 0, 12)
    assert table["first_bp"].tolist() == [len(codes) for codes in windows.first]
    assert [toy.genomes.species[s] for s in windows.species] == table["species"].tolist()
    apart = (table["first_start"] - table["second_start"]).abs()
    assert (apart >= table[["first_bp", "second_bp"]].min(axis=1)).all()


def test_a_pair_file_takes_the_place_of_the_genomes(toy, tmp_path):
    write_pairs_csv(tmp_path / "pairs.csv", toy.sampler(), 10)
    options = {"lengths_bp": LENGTHS_BP, "batch_pairs": 4, "seed": 1}
    path = tmp_path / "pairs.csv"
    source = training.open_pairs(toy.genomes, path, tmp_path / "pairs", **options)
    assert len(source.pairs(0, 0, 4).first) == 4
    drawn = training.open_pairs(toy.genomes, None, tmp_path / "none", **options)
    assert set(map(len, drawn.pairs(0, 0, 20).first)) == set(LENGTHS_BP)


def test_training_windows_have_errors_where_they_are_asked_for(toy, tmp_path):
    options = {"lengths_bp": (200,), "batch_pairs": 4, "seed": 1}
    clean = training.open_pairs(toy.genomes, None, tmp_path, **options).pairs(0, 0, 9)
    read = training.open_pairs(toy.genomes, None, tmp_path, **options, error_rate=0.1)
    read = read.pairs(0, 0, 9)
    assert {len(codes) for codes in clean.first} == {200} != {len(codes) for codes in read.first}
    with pytest.raises(
        ValueError, match=r"error_rate is 0.1, expected 0 with a pairs_file \(p.csv"
    ):
        training.open_pairs(toy.genomes, Path("p.csv"), tmp_path, **options, error_rate=0.1)


def test_tokens_of_the_windows(toy):
    table = training.describe_tokens(toy.tokenizer, toy.sampler(), 20)
    assert (table["n_tokens"] < table["length_bp"]).all()
    assert set(table["length_bp"]) <= {100, 150, 200}


def test_random_weights_depend_on_the_seed_alone(toy):
    states = [build(toy, seed=seed).state_dict() for seed in (1, 1, 2)]
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])


def test_small_layers_begin_as_the_mean_of_the_tokens(toy):
    """Layers with weights near zero hand on what they are given."""
    model = build(toy, layer_scale=1e-3)
    weight = model.embeddings.word_embeddings.weight
    assert torch.equal(weight, build(toy).embeddings.word_embeddings.weight)
    ids = torch.tensor([[1, 5, 6, 7, 8, 2]])
    with torch.no_grad():
        states, _ = model.encode(ids, torch.ones_like(ids, dtype=torch.bool))
        tokens = model.embeddings.LayerNorm(
            weight[ids] + model.embeddings.token_type_embeddings.weight[0]
        )
    assert torch.allclose(states, tokens, atol=1e-2)


def test_training_starts_from_a_saved_encoder_with_its_own_dropout(toy, tmp_path):
    first = build(toy)
    folder = training.save_encoder(first, toy.tokenizer, tmp_path / "encoder")
    again = build(toy, folder, seed=9, dropout=0.25)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    assert again.config.hidden_dropout_prob == 0.25
    assert {m.p for m in again.modules() if isinstance(m, Dropout)} == {0.25}


def test_an_encoder_of_another_vocabulary_is_refused(toy, tmp_path):
    folder = training.save_encoder(build(toy), toy.tokenizer, tmp_path / "encoder")
    with pytest.raises(ValueError, match=f"vocabulary of {VOCAB} tokens, the tokenizer has 32"):
        training.build_encoder(folder, "nano", 32, dropout=0.0, seed=1)


def test_tables_of_a_training_hold_no_times(toy, tmp_path):
    trained = toy.train(build(toy), tmp_path, phases=training.make_phases("curriculum", 3))
    history, phases = training.tidy_training(trained)
    assert not {*TIMING} & {*history.columns, *phases.columns}
    assert history["objective"].unique().tolist() == ["weighted_simclr", "mix"]
    assert len(history) == len(trained.history)
    assert phases["steps"].tolist() == [1, 2]


def test_the_masked_language_model_becomes_an_encoder(toy, tmp_path):
    frozen = freeze_tokens(toy.sampler("valid"), toy.tokenizer, n_rows=8, max_tokens=32)
    masked = pretrain_alibi_mlm(
        toy.sampler(), frozen, toy.tokenizer, folder=tmp_path / "training", preset="nano",
        steps=2, rows_per_step=4, max_tokens=32, peak_lr=1e-3, warmup_steps=1, progress=False,
    )  # fmt: skip
    model, tokenizer = load_encoder(training.keep_mlm(masked.final, tmp_path / "mlm"))
    assert len(tokenizer) == model.config.vocab_size == VOCAB
    table = training.tidy_mlm(masked, frozen, toy.tokenizer, toy.sampler())
    assert table["baseline"].tolist() == ["masked language model", "uniform", "frequencies"]
    assert table["bits_per_base"].between(0, 4).all()
