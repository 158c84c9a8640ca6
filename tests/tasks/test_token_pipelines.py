"""Classical pipelines of token rows: what is learned, what the released protocol leaks."""

import numpy as np
import pytest

from genomelm_utils.baselines.word2vec import TokenSentences, token_vectors, train_word2vec
from genomelm_utils.datasets.token_reading import TokenSet
from genomelm_utils.tasks.token_pipelines import (
    PipelineSettings,
    count_features,
    run_pipeline,
    run_token_pipeline,
    select_features,
    vector_features,
)

VOCABULARY = ["<s>", "</s>", "<unk>", "<pad>", "<mask>", "A", "C", "G", "T", "TATA", "GCGC"]
SPACE = {"n_estimators": [20], "max_depth": [3, 7]}
FAST = {"space": SPACE, "n_candidates": 2, "k": 3, "shown": 3}
SHARES = {"train": 0.6, "test": 0.3, "valid": 0.1}


def make_set(n: int, seed: int, noise: bool = False, copies: int = 1) -> TokenSet:
    """n sequences of 12 tokens; class 1 has TATA somewhere, class 0 GCGC (noise: no difference)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    rows, texts = [], []
    for label in labels:
        row = rng.integers(5, 9, 12)
        row[rng.integers(0, 12)] = rng.choice([9, 10]) if noise else 10 - label
        rows.append(row.astype(np.int32))
        texts.append("".join(VOCABULARY[i] for i in row))
    if noise:
        labels = rng.integers(0, 2, n)
    times = np.repeat(np.arange(n), copies)
    ids = np.concatenate([rows[i] for i in times])
    offsets = np.append(0, np.cumsum([len(rows[i]) for i in times])).astype(np.int64)
    return TokenSet(
        [f"s{i}" for i in times], [texts[i] for i in times], labels[times].astype(np.int64), ids,
        offsets, ("no", "yes"), [], "toy",
    )  # fmt: skip


def value_of(table, method: str, metric: str = "auc") -> float:
    return float(table.query("method == @method and metric == @metric")["value"].iloc[0])


@pytest.mark.parametrize("model", ["rf", "xg"])
def test_a_pipeline_finds_the_word_and_sets_baselines_beside_it(model):
    settings = PipelineSettings(model=model, shares=SHARES, **FAST)
    result = run_pipeline(make_set(200, seed=1), count_features(VOCABULARY), settings)
    name = {"rf": "random forest", "xg": "XGBoost"}[model]
    assert value_of(result.test, name) > 0.95
    assert result.impurity["feature"][0] in ("TATA", "GCGC")
    assert result.permutation["feature"][0] in ("TATA", "GCGC")
    assert len(result.permutation) == 3
    assert {"majority", "gc_length", "composition", "words"} <= set(result.test["method"])
    assert value_of(result.test, "majority") == 0.5
    auc = result.folds.summary.set_index("metric").loc["auc"]
    assert auc["mean"] > 0.95 and auc["n_folds"] == 3
    assert sum(result.n_rows.values()) == 200
    again = run_pipeline(make_set(200, seed=1), count_features(VOCABULARY), settings)
    assert again.test.equals(result.test) and again.impurity.equals(result.impurity)


def test_copies_leak_in_the_released_protocol_only():
    """No difference between the classes, but each sequence is there four times."""
    rows = make_set(60, seed=3, noise=True, copies=4)
    found = {}
    for protocol in ("corrected", "reference"):
        settings = PipelineSettings(
            shares=SHARES, protocol=protocol, **{**FAST, "space": {"n_estimators": [60]}}
        )
        learn = count_features(VOCABULARY, ngrams=(1, 3))
        result = run_pipeline(rows, learn, settings)
        found[protocol] = value_of(result.test, "random forest")
        parts = result.parts
        shared = set(np.array(rows.names)[parts["train"]]) & set(
            np.array(rows.names)[parts["test"]]
        )
        assert bool(shared) == (protocol == "reference")
        assert result.folds.folds["leaked"].all() == (protocol == "reference")
    assert found["reference"] > 0.85
    assert found["corrected"] < 0.8


def test_vectors_of_sequences_and_features_chosen_by_variance():
    rows = make_set(200, seed=5)
    sentences = TokenSentences([rows.row(i) for i in range(len(rows))], VOCABULARY)
    vectors = token_vectors(train_word2vec(sentences, vector_size=12, window=3, sample=0))
    learn = vector_features(vectors, VOCABULARY, weighting="tfidf")
    settings = PipelineSettings(shares=SHARES, **FAST)
    whole = run_pipeline(rows, learn, settings)
    assert value_of(whole.test, "random forest") > 0.8
    assert whole.impurity["feature"].str.startswith("dimension ").all()
    few = run_pipeline(rows, select_features(learn, 4), settings)
    assert len(few.impurity) == 4


def test_single_tokens_as_released():
    rows = make_set(80, seed=6)
    labels = np.repeat(rows.labels, 12)
    vectors = np.eye(11, dtype=np.float32)[rows.ids]
    settings = PipelineSettings(shares=SHARES, **FAST)
    search, auc = run_token_pipeline(labels, rows.ids, vectors, settings)
    # one token in twelve tells the class
    assert 0.45 < auc < 0.7 and len(search.candidates) == 2


def test_wrong_requests():
    with pytest.raises(ValueError, match="protocol is 'both'"):
        run_pipeline(make_set(40, 1), count_features(VOCABULARY), PipelineSettings(protocol="both"))
    few = make_set(4, 1)
    with pytest.raises(ValueError, match=r"has no row of class|fewer than"):
        run_pipeline(few, count_features(VOCABULARY), PipelineSettings(**FAST))
