"""The driver of notebook 07 on a simulated set: methods, scores, pairs, control, importance."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from genomelm_utils import paths
from genomelm_utils.datasets.expression_controls import make_simulated_set
from genomelm_utils.datasets.prepare_expression import planted_places
from genomelm_utils.evaluation import expression_scores as scored
from genomelm_utils.evaluation import expression_sentences as told_by
from genomelm_utils.pipeline.params import read_schema
from genomelm_utils.sequences.simulate_expression import simulate_expression
from genomelm_utils.tasks import expression_benchmark as benchmark
from genomelm_utils.tasks import expression_importance as importance
from genomelm_utils.tasks import expression_pretraining as pretraining
from genomelm_utils.tasks.label_transform import LabelTransform
from genomelm_utils.tasks.regression import RegressionSettings
from genomelm_utils.tasks.regression_modes import MODES, Mode
from genomelm_utils.tokenizers.promoter_usage import describe_promoter_tokens

TRAINING = RegressionSettings(epochs=1, batch_size=32, peak_lr=1e-3, pooling="attention")
SIZES = {"vocab_size": 40, "max_tokens": 256, "max_token_bases": 6}


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
def judge(promoters, transform):
    return scored.Judge(promoters, transform, Mode(), seed=1)


@pytest.fixture(scope="module")
def texts(promoters):
    return pretraining.select_texts(promoters, {})


@pytest.fixture(scope="module")
def tokenizer(texts):
    return list(pretraining.train_tokens(texts, **SIZES).values())[-1]


@pytest.fixture(scope="module")
def language(promoters, texts, tokenizer, tmp_path_factory):
    return pretraining.pretrain_language_model(
        promoters, texts, tokenizer, folder=tmp_path_factory.mktemp("lm"), preset="nano", steps=6,
        rows_per_step=8, peak_lr=1e-3, seed=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def networks(promoters, tokenizer, transform, language):
    return benchmark.train_networks(
        promoters, language.final, tokenizer, transform, TRAINING, preset="nano", seeds=[1, 2],
        with_probe=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def predictions(promoters, networks, transform):
    names = ["tissue_mean", "kmer_ridge"]
    return benchmark.predict_all(promoters, networks, names, transform, seeds=[1, 2])


def test_tokens_are_of_training_promoters_and_hold_letters_of_dna_only(promoters, texts, tokenizer):
    assert len(tokenizer) == 40
    assert texts.own == promoters.select("train").genes["sequence"].unique().tolist()
    found = pretraining.train_tokens(texts, **{**SIZES, "max_tokens": 64})
    assert {name: len(one) for name, one in found.items()} == {
        "as released": 40 + 251, "letters of DNA": 40,
    }  # fmt: skip
    assert [one.truncation_side for one in found.values()] == ["right", "left"]
    table = describe_promoter_tokens(found, promoters.genes["sequence"].tolist())
    assert "lose their distal end" in pretraining.describe_cut(table)


def test_tokens_of_all_bytes_cut_at_the_tss_from_some_of_the_texts(texts):
    options = {"alphabet": "bytes", "truncate": "reference", "share": 0.5, "seed": 3}
    sizes = {"vocab_size": 280, "max_tokens": 64, "max_token_bases": 0}
    found = pretraining.train_tokens(texts, **sizes, **options)
    assert {name: len(one) for name, one in found.items()} == {"as released": 280, "all bytes": 280}
    words = [one.get_vocab() for one in found.values()]
    assert words[0] == words[1]
    whole = pretraining.train_tokens(texts, **sizes, **{**options, "share": 1.0})
    assert whole["all bytes"].get_vocab() != words[1]


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
    whole = {"same": promoters.genes["sequence"].unique().tolist()}
    found = pretraining.select_texts(promoters, whole)
    held = set(promoters.genes.loc[promoters.genes["part"] != "train", "sequence"])
    assert not held & {*found.others, *found.own}
    row = found.sets.iloc[0]
    assert row["set"] == "same"
    assert row["n_related"] >= len(held)
    assert row["n_used"] == len(found.others) == row["n_promoters"] - row["n_related"]
    empty = pretraining.select_texts(promoters, {})
    assert (empty.others, len(empty.sets)) == ([], 0)


def test_the_released_rule_deals_rows_whatever_they_are_tested_for(promoters):
    every = promoters.genes["sequence"].unique().tolist()
    found = pretraining.select_texts(promoters, {"same": every}, rule="reference", seed=1)
    held = set(promoters.genes.loc[promoters.genes["part"] != "train", "sequence"])
    assert held & set(found.own)
    assert held & set(found.others)
    assert 0.7 < len(found.own) / len(every) < 0.9
    assert found.sets.iloc[0]["n_related"] == 0
    with pytest.raises(ValueError, match="rule is 'old', expected corrected or reference"):
        pretraining.select_texts(promoters, {}, rule="old")


def test_further_plants_come_from_fasta_files_and_folders(tmp_path):
    (tmp_path / "rice.fa").write_text(">g1::1:0-8(+)\nacgtACGT\n>g2\nACGTACGT\n>g3\nTTTT\n")
    (tmp_path / "notes.txt").write_text("no sequences\n")

    class Run:
        def __init__(self, files):
            self.params = {"plant_files": files}

        def parents(self, name):
            return []

        def data(self, name):
            return tmp_path / name

    assert pretraining.read_others(Run(["rice.fa"])) == {"rice.fa": ["ACGTACGT", "TTTT"]}
    assert list(pretraining.read_others(Run(["."]))) == ["rice.fa"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no FASTA file"):
        pretraining.read_others(Run(["empty"]))


def test_two_stages_when_other_promoters_are_named(promoters, texts, tokenizer, tmp_path):
    both = dataclasses.replace(texts, others=texts.own[:20])
    found = pretraining.pretrain_language_model(
        promoters, both, tokenizer, folder=tmp_path, preset="nano", steps=0, epochs=1.0,
        rows_per_step=10, peak_lr=1e-3, warmup_steps=1, optimizer="lamb", seed=1,
        positions="reference", random_tokens="reference",
    )  # fmt: skip
    assert list(found.curves["stage"].unique()) == [pretraining.OTHERS, pretraining.OWN]
    last = found.curves.groupby("stage", sort=False)["step"].max()
    assert last.tolist() == [2, len(texts.own) // 10]
    assert found.model.config.tss_positions == "reference"


def test_options_of_the_language_model_are_parameters_by_name():
    same = {"preset": "nano", "positions": "reference", "random_tokens": "corrected", "seed": 3}
    own = {"pretrain_steps": 5, "pretrain_lr": 0.1, "pretrain_optimizer": "lamb"}
    found = pretraining.read_options({**same, **own, "rows_per_step": 4, "epochs": 9})
    assert found == {**same, "rows_per_step": 4, "steps": 5, "peak_lr": 0.1, "optimizer": "lamb"}


def test_settings_of_fine_tuning_are_parameters_by_name():
    params = {"mode": "sparse", "threshold": "reference", "epochs": 4, "warmup_steps": -1,
              "mask_rule": "reference", "ema_decay": 0.9, "seed": 5}  # fmt: skip
    found = benchmark.read_settings(params)
    mode = Mode("sparse", threshold="reference")
    assert found == RegressionSettings(mode=mode, epochs=4, mask_rule="reference", ema_decay=0.9)
    assert benchmark.read_settings({**params, "warmup_steps": 7}).warmup_steps == 7


def test_every_setting_of_fine_tuning_is_a_parameter_of_the_notebook_or_left_at_its_default():
    """What the notebook cannot say: what is given by other parameters, and the control's end."""
    schema = read_schema(paths.notebook_file("07_expression")).by_name
    known = {field.name for field in dataclasses.fields(RegressionSettings)}
    assert known - set(schema) == {"max_ids", "freeze", "patience"}


def test_labels_by_offset_and_scale(promoters):
    plain = benchmark.fit_labels(promoters, offset="corrected", scale="none")
    assert (plain.offset, plain.standardised) == (1.0, False)
    assert benchmark.name_labels(promoters, plain) == "ln(x + 1)"
    released = benchmark.fit_labels(promoters, offset="reference", scale="corrected")
    y_ST = released.apply(promoters.select("train").tpm_ST)
    assert np.nanmean(y_ST, 0) == pytest.approx(0, abs=1e-5)
    assert benchmark.name_labels(promoters, released) == "ln(x + 0.001), standardised"
    with pytest.raises(ValueError, match="scale is 'all', expected one of none"):
        benchmark.fit_labels(promoters, offset="corrected", scale="all")


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


def test_scores_lines_and_seeds(judge, predictions):
    scores = scored.score_methods(judge, predictions.by_name)
    summary = scored.summarise_scores(scores).set_index("model")
    assert list(summary.index) == list(predictions.by_name)
    lines = scored.score_lines(judge, predictions.by_name)
    assert set(lines["line"]) == {"line1", "line2"}
    seeds = scored.score_seeds(judge, predictions.by_seed)
    row = scores[(scores["model"] == "kmer_ridge") & (scores["tissue"] == "mean")]
    ours = seeds.set_index("model").loc["kmer_ridge", "R2"]
    assert ours == pytest.approx(row.set_index("metric").loc["R2", "mean"])
    assert "scratch" in told_by.describe_seeds(seeds)


def test_the_best_network_is_compared_with_each_other_method(judge, predictions):
    paired = scored.compare_best(judge, predictions.by_name, "scratch")
    assert set(paired["other"]) == set(predictions.by_name) - {"scratch"}
    scores = scored.score_methods(judge, predictions.by_name)
    means = scores[(scores["tissue"] == "mean") & (scores["metric"] == "R2")].set_index("model")
    row = paired[(paired["metric"] == "R2") & (paired["other"] == "kmer_ridge")].iloc[0]
    expected = means.loc["scratch", "mean"] - means.loc["kmer_ridge", "mean"]
    assert row["difference"] == pytest.approx(expected)


def test_classification_is_scored_by_order(judge, predictions):
    """A baseline that predicts labels stands beside probabilities."""
    of_classes = dataclasses.replace(judge, mode=Mode("classification", theta_tpm=5.0))
    test = judge.promoters.select("test")
    known = np.nan_to_num(test.tpm_ST)
    methods = {"knows": known, "shares": known / (1 + known), **predictions.by_name}
    scores = scored.score_methods(of_classes, methods, n_resamples=20)
    wide = scores[scores["tissue"] == "mean"].pivot(index="model", columns="metric", values="mean")
    assert wide.loc["knows"].tolist() == wide.loc["shares"].tolist() == [1, 1]
    assert wide.loc["tissue_mean", "auc"] == 0.5
    paired = scored.compare_best(of_classes, methods, "knows")
    row = paired[(paired["metric"] == "auc") & (paired["other"] == "kmer_ridge")].iloc[0]
    assert row["difference"] == pytest.approx(1 - wide.loc["kmer_ridge", "auc"])
    lines = scored.score_lines(of_classes, methods)
    assert set(lines["metric"]) == {"auc", "auprc"}
    assert list(scored.score_seeds(of_classes, predictions.by_seed)) == [
        "model", "seed", "auprc", "auc",
    ]  # fmt: skip


def test_comparison_in_words():
    columns = ["model", "other", "metric", "difference", "low", "high"]
    rows = [("p", "a", "R2", 0.2, 0.1, 0.3), ("p", "b", "R2", -0.2, -0.3, -0.1),
            ("p", "c", "R2", 0.0, -0.1, 0.1)]  # fmt: skip
    told = told_by.describe_comparison(pd.DataFrame(rows, columns=columns))
    assert "beats a (+0.200 [+0.100, +0.300]); is beaten by b (" in told
    assert "cannot be told from c (" in told


def test_control_on_permuted_labels(judge, tokenizer, networks, language):
    found = benchmark.run_control(judge, language.final, tokenizer, networks, preset="nano")
    assert set(found["model"]) == {networks.best(), "kmer_ridge"}
    assert (found[found["metric"] == "skill"]["low"] < 0.1).all()
    assert "permuted labels" in told_by.describe_control(found)


def test_a_leak_is_told_in_both_kinds_of_scores():
    columns = ["model", "metric", "mean", "low", "high"]
    skill = pd.DataFrame(
        [("m", "skill", 0.1, 0.05, 0.2), ("m", "r2", 0.1, 0.1, 0.1)], columns=columns
    )
    assert told_by.describe_control(skill).endswith("m finds something: a leak.")
    auc = pd.DataFrame([("m", "auc", 0.52, 0.45, 0.6)], columns=columns)
    assert told_by.describe_control(auc).endswith("nothing is found.")


@pytest.mark.parametrize("name", MODES)
def test_constant_loss_is_that_of_the_best_constants(promoters, transform, name):
    """By hand for squared errors; in every mode no other constant is better on training rows."""
    mode = Mode(name, theta_tpm=5.0)
    found = benchmark.constant_loss(promoters, transform, mode)
    assert np.isfinite(found)
    if name == "mse":
        train, valid = (transform.apply(promoters.select(p).tpm_ST) for p in ("train", "valid"))
        expected = np.nanmean((valid - np.nanmean(train, 0)) ** 2)
        assert found == pytest.approx(expected, rel=1e-5)
    if name == "classification":
        share = np.nanmean(mode.targets(promoters.select("train").tpm_ST, transform), 0)
        y = mode.targets(promoters.select("valid").tpm_ST, transform)
        cost = -np.where(np.isnan(y), np.nan, y * np.log(share) + (1 - y) * np.log(1 - share))
        assert found == pytest.approx(np.nanmean(cost), rel=1e-4)


def test_long_names_are_cut_and_stay_apart():
    names = ["leaf", "inflorescence size 1 to 10 mm", "inflorescence size 1 to 5 mm"]
    short = told_by.shorten_tissues(pd.DataFrame({"tissue": names}))["tissue"]
    assert short[0] == "leaf"
    assert short.is_unique
    assert short.str.len().max() <= told_by.MAX_NAME + 1


def test_importance_of_planted_places(simulated, promoters, networks):
    network = networks.by_name["scratch"][1]
    moved = importance.flip_kmers(
        network, promoters, ks=[3], span_bp=60, promoters_per_place=2, seed=1
    )
    assert set(moved.places["k"]) == {3}
    assert moved.places["distance_bp"].between(-60, -1).all()
    found = importance.compare_with_planted(moved.places, planted_places(simulated.truth))
    assert found["motif"].iloc[-1] == "none"


def test_importance_by_the_released_rule_counts_from_the_other_end(promoters, networks):
    network = networks.by_name["scratch"][1]
    moved = importance.flip_kmers(
        network, promoters, ks=[2], span_bp=60, promoters_per_place=2, seed=1, rule="reference"
    )
    assert "distance_bp" not in moved.places
    assert moved.places["start"].between(0, 58).all()
    assert moved.n_flips == len(promoters.select("test"))


def test_words_of_regions_are_ranked(promoters, networks):
    network = networks.by_name["scratch"][1]
    words = importance.rank_region_kmers(
        network, promoters, ends_bp=[20, 120, 5000], k=2, repeats=4, seed=1
    )
    assert list(words["region"].unique()) == ["-20 to -1", "-120 to -21"], "none reaches 5,000 bp"
    assert set(words["side"]) == {"lost", "gained"}
    assert (words["n_flips"] >= 5).all()


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
