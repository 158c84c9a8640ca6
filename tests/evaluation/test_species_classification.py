"""Few-shot species: a disjoint test, scaling without it, the reference's way beside it."""

import numpy as np
import pytest

from genomelm_utils.evaluation import species_classification
from genomelm_utils.evaluation.species_classification import few_shot_scores


def species_rows(rng, n_species=5, per_species=100, width=10, noise=0.7):
    """Features [S, D] and species names [S], in random order."""
    order = rng.permutation(n_species * per_species)
    centres = np.repeat(rng.normal(size=(n_species, width)), per_species, axis=0)
    labels = np.repeat([f"s{number}" for number in range(n_species)], per_species)
    return (centres + noise * rng.normal(size=centres.shape))[order], labels[order]


@pytest.fixture
def splits(monkeypatch):
    """Training and test rows of every fit."""
    seen = []
    kept = species_classification.score_split

    def spy(features, codes, train, test, seed, mode):
        seen.append((train, test, seed))
        return kept(features, codes, train, test, seed, mode)

    monkeypatch.setattr(species_classification, "score_split", spy)
    return seen


def test_more_shots_are_better_and_the_test_stays_apart(rng, splits):
    features, labels = species_rows(rng)
    scores, skipped = few_shot_scores(features, labels)
    assert len(scores) == 25 and len(skipped) == 0
    means = scores.groupby("shots")["macro_f1"].mean()
    assert means.index.tolist() == [1, 2, 5, 10, 20]
    assert means[20] > means[1] and means[20] > 0.8
    assert (scores["n_train"] == 5 * scores["shots"]).all() and (scores["n_test"] == 400).all()
    assert (scores["n_shared"] == 0).all()
    tests = {}
    for train, test, seed in splits:
        assert not set(train) & set(test)
        assert tests.setdefault(seed, test.tolist()) == test.tolist()  # same for all shots
    assert len({tuple(test) for test in tests.values()}) == 5


def test_draws_depend_on_the_seed_alone(rng):
    features, labels = species_rows(rng)
    both = few_shot_scores(features, labels, shots=[2], seeds=[0, 3]).scores
    one = few_shot_scores(features, labels, shots=[2], seeds=[3]).scores
    assert both["macro_f1"].iloc[1] == one["macro_f1"].iloc[0]


def test_test_rows_do_not_shape_the_scaling(rng, splits, monkeypatch):
    features, labels = species_rows(rng, n_species=3, per_species=30)
    seen, kept = [], species_classification.standardise
    monkeypatch.setattr(
        species_classification, "standardise", lambda a, b: seen.append(a) or kept(a, b)
    )
    few_shot_scores(features, labels, shots=[5], seeds=[0])
    train, test, _ = splits[0]
    np.testing.assert_array_equal(seen[0], features[train])
    assert len(test) == 3 * 25


def test_reference_equals_its_description(rng):
    """Scaler over all rows, compounding permutations, last 80: written down once more."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.preprocessing import StandardScaler

    features, labels = species_rows(rng, n_species=4, noise=1.5)
    scaled, shuffled = StandardScaler().fit_transform(features), labels.copy()
    expected = []
    for seed in (0, 1):
        order = np.random.RandomState(seed).permutation(len(scaled))
        scaled, shuffled = scaled[order], shuffled[order]
        for shots in (1, 10):
            rows = [np.flatnonzero(shuffled == species) for species in np.unique(labels)]
            train = np.concatenate([row[:shots] for row in rows])
            test = np.concatenate([row[-80:] for row in rows])
            model = LogisticRegression(C=0.5, max_iter=3000, random_state=seed)
            predicted = model.fit(scaled[train], shuffled[train]).predict(scaled[test])
            expected.append(f1_score(shuffled[test], predicted, average="macro"))
    found = few_shot_scores(features, labels, shots=(1, 10), seeds=(0, 1), mode="reference").scores
    np.testing.assert_allclose(found["macro_f1"], expected, rtol=1e-9)


def test_reference_tests_on_training_rows_and_says_so(rng, caplog):
    features, labels = species_rows(rng, per_species=90)
    found = few_shot_scores(features, labels, shots=[20], mode="reference").scores
    assert (found["n_shared"] == 5 * 10).all()
    assert "among the test" in caplog.text
    corrected = few_shot_scores(features, labels, shots=[20]).scores
    assert (corrected["n_shared"] == 0).all() and (corrected["n_test"] == 5 * 70).all()


def test_small_species_are_left_out_by_name(rng, caplog):
    features, labels = species_rows(rng, per_species=30)
    small = np.flatnonzero(labels == "s3")[6:]
    features, labels = np.delete(features, small, 0), np.delete(labels, small)
    scores, skipped = few_shot_scores(features, labels, shots=[1, 6], seeds=[0])
    assert (scores["n_species"] == 4).all()
    assert skipped[["species", "n_sequences"]].values.tolist() == [["s3", 6]]
    assert "1 species left out" in caplog.text and "s3" in caplog.text
    kept, none = few_shot_scores(features, labels, shots=[1, 5], seeds=[0])
    assert (kept["n_species"] == 5).all() and len(none) == 0


def test_bad_input_is_told(rng):
    features, labels = species_rows(rng, n_species=3, per_species=4)
    with pytest.raises(ValueError, match=r"0 of 12 species have at least 2 sequences"):
        few_shot_scores(features, np.arange(12), shots=[1])
    with pytest.raises(ValueError, match=r"0 of 3 species have at least 21 .*ask for fewer shots"):
        few_shot_scores(features, labels)
    with pytest.raises(ValueError, match="mode is 'fair'"):
        few_shot_scores(features, labels, mode="fair")
    with pytest.raises(ValueError, match="numbers from 1"):
        few_shot_scores(features, labels, shots=[0, 1])
    with pytest.raises(ValueError, match="n_test is 0"):
        few_shot_scores(features, labels, shots=[1], n_test=0)
    features[2, 2] = np.inf
    with pytest.raises(ValueError, match=r"NaN or infinity \(rows 2,"):
        few_shot_scores(features, labels, shots=[1])
