"""Few-shot draws: balanced, seeded, without leakage; and the published files as they are."""

import numpy as np
import pytest

from genomelm_utils.datasets.audit import read_published_sets
from genomelm_utils.datasets.fewshot import (
    SETS,
    LabelledSet,
    clean_pool,
    draw_cleaned,
    draw_shots,
    load_fewshot,
)
from genomelm_utils.datasets.identity import sequence_keys
from genomelm_utils.sequences.alphabet import CODE_N, decode, encode


def test_draws_are_balanced_distinct_and_seeded(rng):
    labels = rng.integers(0, 3, 200)
    index = draw_shots(labels, 20, np.random.default_rng(1))
    assert len(set(index.tolist())) == 60
    assert np.bincount(labels[index]).tolist() == [20, 20, 20]
    assert (index == draw_shots(labels, 20, np.random.default_rng(1))).all()
    assert (index != draw_shots(labels, 20, np.random.default_rng(2))).any()
    assert (np.diff(labels[index]) < 0).any()  # shuffled, not class by class


def test_too_few_sequences_says_which_class():
    with pytest.raises(ValueError, match=r"4 sequences per class.*class 1 has 3.*ask for 3"):
        draw_shots(np.array([0] * 9 + [1] * 3), 4, np.random.default_rng(0))


def ragged(texts: list[str], labels: list[int]) -> LabelledSet:
    names = [f"line {i}" for i in range(len(texts))]
    return LabelledSet([encode(text) for text in texts], np.array(labels), names, "mine.tsv")


def test_a_user_pool_is_cleaned_and_drawn_from():
    texts = ["AAC", "GTT", "CCCC", "CCCC", "ACA", "GATTACA", "TTGC", "CCA"]
    pool = ragged(texts, [0, 0, 1, 0, 1, 1, 0, 1])  # GTT is AAC again, CCCC has two labels
    test = ragged(["TGT", "AGGA", "AGGA"], [1, 0, 0])  # TGT is ACA
    cleaned, kept, dropped = clean_pool(pool, test)
    assert [decode(codes) for codes in cleaned.codes] == ["AAC", "GATTACA", "TTGC", "CCA"]
    assert [decode(codes) for codes in kept.codes] == ["TGT", "AGGA"]
    assert dropped[["part", "name", "reason"]].to_numpy().tolist() == [
        ["train", "line 2", "has two labels"],
        ["train", "line 3", "has two labels"],
        ["train", "line 1", "repeated"],
        ["test", "line 2", "repeated"],
        ["train", "line 4", "in the test file"],
    ]
    kept = clean_pool(pool, test, test_gives_way=True)[1]
    assert [decode(codes) for codes in kept.codes] == ["AGGA"]
    assert sorted(draw_cleaned(cleaned, 1, 0, 5).labels) == [0, 1]
    names = [draw_cleaned(cleaned, 1, draw, 5).names for draw in range(20)]
    assert names == [draw_cleaned(cleaned, 1, draw, 5).names for draw in range(20)]
    assert len({tuple(sorted(one)) for one in names}) == 4
    with pytest.raises(ValueError, match=r"mine\.tsv: cannot draw 3"):
        draw_cleaned(cleaned, 3, 0, 5)


@pytest.mark.parametrize("name", SETS)
def test_draws_share_nothing_with_the_test_set(name, data_dir):
    spec = SETS[name]
    for draw in (0, 1):
        train, test, dropped = load_fewshot(
            name, 100, draw=draw, as_shipped=False, seed=7, data_dir=data_dir
        )
        assert train.codes.shape == (100 * spec.n_classes, spec.length_bp)
        assert train.class_counts.tolist() == [100] * spec.n_classes
        keys, test_keys = sequence_keys(train.codes), sequence_keys(test.codes)
        assert len(set(keys.tolist())) == len(keys)
        assert len(set(test_keys.tolist())) == len(test_keys)
        assert not np.isin(keys, test_keys).any()
        assert set(dropped["part"]) <= {"train", "test"}
        if draw == 0:
            first, first_test = keys, test_keys
    assert (first_test == test_keys).all()
    assert not np.isin(first, keys).all()
    again, _, _ = load_fewshot(name, 100, draw=1, as_shipped=False, seed=7, data_dir=data_dir)
    assert (sequence_keys(again.codes) == keys).all()
    other, _, _ = load_fewshot(name, 100, draw=1, as_shipped=False, seed=8, data_dir=data_dir)
    assert (sequence_keys(other.codes) != keys).any()


def test_what_is_dropped_is_counted(data_dir):
    def dropped(name):
        report = load_fewshot(name, 10, draw=0, as_shipped=False, seed=1, data_dir=data_dir)[2]
        return report.groupby(["part", "reason"]).size().to_dict()

    core = dropped("Prom-core")
    assert core[("train", "in the test file")] == 1
    assert core[("test", "repeated")] == 2
    assert ("test", "in a training file") in dropped("Prom-300")
    assert dropped("Cohn-enh")[("train", "held out as test")] == 280


def test_as_shipped_is_the_published_file(data_dir):
    published = read_published_sets(data_dir)
    for name, spec in SETS.items():
        for shots in spec.shots:
            train, _, _ = load_fewshot(
                name, shots, draw=0, as_shipped=True, seed=0, data_dir=data_dir
            )
            whole = published[f"{name}/{shots}"]
            kept = np.isin(sequence_keys(whole.codes), sequence_keys(train.codes))
            assert (train.codes == whole.codes[kept]).all()
            if spec.test:
                assert kept.all()
    assert len(load_fewshot("Splice-40", 10, draw=0, as_shipped=True, seed=0)[0]) == 300


def test_cohn_test_rows_are_never_trained_on(data_dir):
    for shots in SETS["Cohn-enh"].shots:
        train, test, _ = load_fewshot(
            "Cohn-enh", shots, draw=0, as_shipped=True, seed=0, data_dir=data_dir
        )
        assert test.class_counts.tolist() == [140, 140]
        assert not np.isin(sequence_keys(train.codes), sequence_keys(test.codes)).any()


def test_splice_dev_is_never_used():
    files = [file for spec in SETS.values() for file in (*spec.train.values(), spec.test or "")]
    assert not any("dev" in file for file in files)


def test_keep_quotes_marks_training_only(data_dir):
    train, test, _ = load_fewshot(
        "Prom-core", 10, draw=0, as_shipped=True, seed=0, keep_quotes=True, data_dir=data_dir
    )
    assert train.codes.shape == (20, 72)
    assert (train.codes[:, [0, -1]] == CODE_N).all()
    assert test.codes.shape == (5920, 70)


def test_errors_name_the_choices(data_dir):
    with pytest.raises(ValueError, match="expected one of Prom-core"):
        load_fewshot("Prom", 10, draw=0, as_shipped=True, seed=0)
    with pytest.raises(ValueError, match=r"Cohn-enh as shipped: 1000 shots, published are \(10"):
        load_fewshot("Cohn-enh", 1000, draw=0, as_shipped=True, seed=0)
    with pytest.raises(ValueError, match="one draw is published"):
        load_fewshot("Prom-core", 10, draw=1, as_shipped=True, seed=0)
    with pytest.raises(ValueError, match=r"Cohn-enh: cannot draw 1000 .*class 0 has"):
        load_fewshot("Cohn-enh", 1000, draw=0, as_shipped=False, seed=0, data_dir=data_dir)
