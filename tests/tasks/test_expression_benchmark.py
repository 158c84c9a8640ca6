"""The driver of notebook 07 on a simulated set: methods, scores, pairs, control, importance."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets.expression_controls import make_simulated_set
from genomelm_utils.datasets.prepare_expression import planted_places
from genomelm_utils.sequences.simulate_expression import simulate_expression
from genomelm_utils.tasks import expression_benchmark as benchmark
from genomelm_utils.tasks import expression_importance as importance
from genomelm_utils.tasks import expression_pretraining as pretraining
from genomelm_utils.tasks.label_transform import LabelTransform
from genomelm_utils.tokenizers.promoter_usage import describe_promoter_tokens

TRAINING = {"epochs": 1, "batch_size": 32, "peak_lr": 1e-3, "pooling": "attention"}


@pytest.fixture(scope="module")
def simulated():
    return simulate_expression(np.random.default_rng(5), n_families=24, length_bp=220, n_lines=2)


@pytest.fixture(scope="module")
def promoters(simulated):
    return make_simulated_set(simulated, seed=5)


@pytest.fixture(scope="module")
def transform(promoters):
    return LabelTransform(promoters.tissues)


@pytest.fixture(scope="module")
def tokenizer(promoters):
    sizes = {"vocab_size": 40, "max_tokens": 256}
    return pretraining.train_tokens(promoters, [], max_token_bases=6, **sizes)


@pytest.fixture(scope="module")
def language(promoters, tokenizer, tmp_path_factory):
    return pretraining.pretrain_language_model(
        promoters, [], tokenizer, folder=tmp_path_factory.mktemp("lm"), preset="nano", steps=6,
        rows_per_step=8, peak_lr=1e-3, seed=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def networks(promoters, tokenizer, transform, language):
    return benchmark.train_networks(
        promoters, language.final, tokenizer, transform, preset="nano", seeds=[1, 2],
        with_probe=True, **TRAINING,
    )  # fmt: skip


@pytest.fixture(scope="module")
def predictions(promoters, networks, transform):
    names = ["tissue_mean", "kmer_ridge"]
    return benchmark.predict_all(promoters, networks, names, transform, seeds=[1, 2])


def test_tokens_are_of_training_promoters_and_hold_letters_of_dna_only(promoters, tokenizer):
    assert len(tokenizer) == 40
    texts = promoters.genes["sequence"].tolist()
    released = pretraining.released_tokens(promoters, [], vocab_size=40, max_tokens=64)
    assert len(released) == 40 + 251
    table = describe_promoter_tokens({"released": released, "ours": tokenizer}, texts)
    assert "lose their distal end" in pretraining.describe_cut(table)


def test_bits_stand_beside_baselines(language):
    assert {"composition", "frequencies", pretraining.OWN} <= set(language.bits["baseline"])
    told = pretraining.describe_bits(language.bits)
    own = language.bits.set_index("baseline").loc[pretraining.OWN, "bits_per_hidden_base"]
    assert f"{own:.3f} bits" in told
    columns = ["baseline", "bits_per_hidden_base"]
    rows = [(pretraining.OWN, 1.6), ("composition", 2.0), ("frequencies", 1.5)]
    worse = pretraining.describe_bits(pd.DataFrame(rows, columns=columns))
    assert worse.endswith("2.000 by composition, 1.500 by frequencies: no better than that guess.")


def test_relatives_of_tested_promoters_are_not_pretrained_on(promoters):
    kept, counts = pretraining.select_others(promoters, [promoters])
    held = set(promoters.genes.loc[promoters.genes["part"] != "train", "sequence"])
    assert not held & set(kept)
    row = counts.iloc[0]
    assert row["n_related"] >= len(held)
    assert row["n_used"] == len(kept) == row["n_promoters"] - row["n_related"]
    none, empty = pretraining.select_others(promoters, [])
    assert (none, len(empty)) == ([], 0)


def test_two_stages_when_other_promoters_are_named(promoters, tokenizer, tmp_path):
    others = promoters.select("train").genes["sequence"].tolist()[:20]
    found = pretraining.pretrain_language_model(
        promoters, others, tokenizer, folder=tmp_path, preset="nano", steps=2, rows_per_step=4,
        peak_lr=1e-3, seed=1,
    )  # fmt: skip
    assert list(found.curves["stage"].unique()) == [pretraining.OTHERS, pretraining.OWN]


def test_networks_are_one_per_seed_and_the_best_is_by_validation(networks):
    assert {name: sorted(found) for name, found in networks.by_name.items()} == {
        "pretrained": [1, 2], "scratch": [1, 2], "probe": [1, 2],
    }  # fmt: skip
    assert networks.settings["probe"].freeze == "encoder"
    lowest = networks.history.groupby(["model", "seed"])["valid_loss"].min().groupby("model").mean()
    assert networks.best() == lowest.idxmin()


def test_predictions_are_means_of_seeds(predictions):
    mean = (predictions.by_seed["scratch", 1] + predictions.by_seed["scratch", 2]) / 2
    assert np.allclose(predictions.by_name["scratch"], mean)
    assert ("kmer_ridge", 2) not in predictions.by_seed, "a ridge does not draw at random"


def test_scores_lines_and_seeds(promoters, predictions, transform):
    scores = benchmark.score_methods(promoters, predictions.by_name, transform, seed=1)
    summary = benchmark.summarise_scores(scores).set_index("model")
    assert list(summary.index) == list(predictions.by_name)
    lines = benchmark.score_lines(promoters, predictions.by_name, transform)
    assert set(lines["line"]) == {"line1", "line2"}
    seeds = benchmark.score_seeds(promoters, predictions, transform)
    row = scores[(scores["model"] == "kmer_ridge") & (scores["tissue"] == "mean")]
    ours = seeds.set_index("model").loc["kmer_ridge", "R2"]
    assert ours == pytest.approx(row.set_index("metric").loc["R2", "mean"])
    assert "scratch" in benchmark.describe_seeds(seeds)


def test_the_best_network_is_compared_with_each_other_method(promoters, predictions, transform):
    paired = benchmark.compare_best(promoters, predictions.by_name, transform, "scratch", seed=1)
    assert set(paired["other"]) == set(predictions.by_name) - {"scratch"}
    scores = benchmark.score_methods(promoters, predictions.by_name, transform, seed=1)
    means = scores[(scores["tissue"] == "mean") & (scores["metric"] == "R2")].set_index("model")
    row = paired[(paired["metric"] == "R2") & (paired["other"] == "kmer_ridge")].iloc[0]
    expected = means.loc["scratch", "mean"] - means.loc["kmer_ridge", "mean"]
    assert row["difference"] == pytest.approx(expected)


def test_comparison_in_words():
    columns = ["model", "other", "metric", "difference", "low", "high"]
    rows = [("p", "a", "R2", 0.2, 0.1, 0.3), ("p", "b", "R2", -0.2, -0.3, -0.1),
            ("p", "c", "R2", 0.0, -0.1, 0.1)]  # fmt: skip
    told = benchmark.describe_comparison(pd.DataFrame(rows, columns=columns))
    assert "beats a (+0.200 [+0.100, +0.300]); is beaten by b (" in told
    assert "cannot be told from c (" in told


def test_control_on_permuted_labels(promoters, tokenizer, transform, networks, language):
    found = benchmark.run_control(
        promoters, language.final, tokenizer, transform, networks, preset="nano", seed=1
    )
    assert set(found["model"]) == {networks.best(), "kmer_ridge"}
    assert (found[found["metric"] == "skill"]["low"] < 0.1).all()
    assert "permuted labels" in benchmark.describe_control(found)


def test_mean_loss_is_that_of_the_training_means(promoters, transform):
    train, valid = (transform.apply(promoters.select(p).tpm_ST) for p in ("train", "valid"))
    expected = np.mean((valid - train.mean(0)) ** 2)
    assert benchmark.mean_loss(promoters, transform) == pytest.approx(expected, rel=1e-5)


def test_long_names_are_cut_and_stay_apart():
    names = ["leaf", "inflorescence size 1 to 10 mm", "inflorescence size 1 to 5 mm"]
    short = benchmark.shorten_tissues(pd.DataFrame({"tissue": names}))["tissue"]
    assert short[0] == "leaf"
    assert short.is_unique
    assert short.str.len().max() <= benchmark.MAX_NAME + 1


def test_importance_of_planted_places(simulated, promoters, networks):
    network = networks.by_name["scratch"][1]
    moved = importance.flip_kmers(
        network, promoters, ks=[3], span_bp=60, promoters_per_place=2, seed=1
    )
    assert set(moved.places["k"]) == {3}
    assert moved.places["distance_bp"].between(-60, -1).all()
    found = importance.compare_with_planted(moved.places, planted_places(simulated.truth))
    assert found["motif"].iloc[-1] == "none"


def test_planted_places_on_top_are_told_by_hand():
    places = pd.DataFrame({"k": 1, "distance_bp": np.arange(-100, 0), "importance": 0.1})
    places.loc[places["distance_bp"].between(-40, -31), "importance"] = 1.0
    planted = pd.DataFrame({"motif": ["TATA-box"], "first_bp": [-40], "last_bp": [-31]})
    found = importance.compare_with_planted(places, planted)
    assert found["times"].tolist() == pytest.approx([10, 1])
    assert "lies in the planted TATA-box" in importance.describe_planted(places, found)
    moved = planted.assign(first_bp=-90, last_bp=-81)
    elsewhere = importance.compare_with_planted(places, moved)
    assert "the truth is not found" in importance.describe_planted(places, elsewhere)


def test_map_and_projector_files(promoters, networks, tmp_path):
    network = networks.by_name["scratch"][1]
    places = importance.embed_promoters(network, promoters, tmp_path, seed=1)
    assert (places["kind"] == "tissue").sum() == len(promoters.tissues)
    assert places.loc[places["kind"] == "promoter", "mean_expression"].notna().all()
    assert len((tmp_path / "tensors.tsv").read_text().splitlines()) == len(places)
