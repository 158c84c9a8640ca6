"""Training classifiers of token rows: they learn, stop, restart, resume; windows of long rows."""

import logging

import numpy as np
import pytest
import torch
from sequence_toy import CLASSES, TOKENS, tiny_config, toy_rows

from genomelm_utils.tasks import sequence_training
from genomelm_utils.tasks.id_windows import Layout, batch_rows, make_windows
from genomelm_utils.tasks.sequence_models import (
    find_tokenizer,
    load_sequence_model,
    make_layout,
    unigram_tokens,
)
from genomelm_utils.tasks.sequence_training import train_classifier
from genomelm_utils.tasks.sequence_validation import REFERENCE, Collapsed, TrainingSettings

FAST = TrainingSettings(epochs=4, batch_size=16, learning_rate=1e-2)
TRAIN, VALID = toy_rows(160, seed=1), toy_rows(80, seed=2)


def train(settings=FAST, config=None, **options):
    options = {"valid": VALID, "seed": 3} | options
    return train_classifier(TRAIN, config or tiny_config(), TOKENS, CLASSES, settings, **options)


def accuracy(model, rows, labels) -> float:
    return float((model.predict(rows).argmax(1) == labels).mean())


@pytest.mark.parametrize(
    ("kind", "pooling"), [("distilbert", "mean"), ("distilbert", "cls"), ("micro", "mean")]
)
def test_a_network_learns(kind, pooling):
    settings = TrainingSettings(epochs=6, batch_size=16, learning_rate=1e-2, pooling=pooling)
    trained = train(settings, tiny_config(kind))
    assert accuracy(trained, *VALID) > 0.8
    assert not trained.collapsed and len(trained.attempts) == 1
    assert trained.history["epoch"].tolist() == list(range(7))
    assert {"valid_f1", "valid_auc", "valid_mcc", "train_loss"} <= set(trained.history)


def test_a_longformer_learns_too():
    trained = train(TrainingSettings(epochs=3, learning_rate=1e-2), tiny_config("longformer"))
    assert accuracy(trained, *VALID) > 0.7


def test_the_best_epoch_is_what_is_kept():
    """Of all epochs the weights with the best validation score are given back."""
    trained = train()
    best = trained.history["valid_f1"].iloc[1:].max()
    from genomelm_utils.evaluation.class_scores import score_classes

    assert score_classes(trained.predict(VALID[0]), VALID[1])["f1"] == pytest.approx(best)
    released = train(TrainingSettings(**{**vars(FAST), "select": "loss"}))
    lowest = released.history["valid_loss"].iloc[1:].min()
    scores = score_classes(released.predict(VALID[0]), VALID[1])
    assert scores["loss"] == pytest.approx(lowest, rel=1e-5)


def test_the_same_seed_the_same_model():
    one, two, other = train(), train(), train(seed=4)
    np.testing.assert_array_equal(one.predict(VALID[0]), two.predict(VALID[0]))
    assert not np.array_equal(one.predict(VALID[0]), other.predict(VALID[0]))


def test_early_stopping_saves_epochs():
    settings = TrainingSettings(epochs=40, batch_size=16, learning_rate=1e-2, patience=2)
    assert train(settings).history["epoch"].iloc[-1] < 40


def test_balanced_weights_save_the_small_class():
    """One row in ten is of class 1: without weights it is hardly ever predicted."""
    rows, labels = toy_rows(400, seed=5)
    kept = np.flatnonzero((labels == 0) | (np.arange(400) % 20 == 1))
    small = [rows[i] for i in kept], labels[kept]
    recall = {}
    for weights in ("none", "balanced"):
        settings = TrainingSettings(
            epochs=3, learning_rate=3e-3, class_weights=weights, on_collapse="keep"
        )
        model = train_classifier(small, tiny_config(), TOKENS, CLASSES, settings, seed=1)
        predicted = model.predict(VALID[0]).argmax(1)
        recall[weights] = float((predicted[VALID[1] == 1] == 1).mean())
    assert recall["balanced"] > recall["none"] + 0.2


def test_a_collapse_is_named_and_training_starts_again(monkeypatch, caplog):
    monkeypatch.setattr(sequence_training, "RESTART_FACTOR", 1e-3)
    broken = TrainingSettings(epochs=4, batch_size=16, learning_rate=10.0)
    with caplog.at_level(logging.WARNING):
        trained = train(broken)
    assert "one class" in caplog.text or "not finite" in caplog.text or "loss is" in caplog.text
    assert len(trained.attempts) == 2
    assert "collapsed" in trained.attempts[0] and "collapsed" not in trained.attempts[1]
    assert trained.attempts[1]["learning_rate"] == pytest.approx(0.01)
    assert accuracy(trained, *VALID) > 0.7


def test_a_collapse_stops_or_is_kept_when_asked(caplog):
    broken = {"epochs": 2, "batch_size": 16, "learning_rate": 10.0}
    with pytest.raises(Collapsed, match="lower learning_rate"):
        train(TrainingSettings(**broken, on_collapse="stop"))
    with pytest.raises(Collapsed, match="2 of 2 attempts"):
        train(TrainingSettings(**broken, restarts=1))
    kept = train(TrainingSettings(**broken, on_collapse="keep"))
    assert kept.collapsed and "collapsed" in caplog.text


def test_the_guard_also_looks_without_validation_rows():
    broken = TrainingSettings(epochs=2, learning_rate=10.0, on_collapse="stop")
    with pytest.raises(Collapsed):
        train(broken, valid=None)


def test_reports_come_once_per_epoch_and_may_end_the_training():
    seen = []

    class Enough(Exception):
        pass

    def report(epoch, scores):
        seen.append((epoch, scores["f1"]))
        if epoch == 2:
            raise Enough

    with pytest.raises(Enough):
        train(report=report)
    assert [epoch for epoch, _ in seen] == [1, 2]


def test_an_interrupted_training_goes_on_to_the_same_end(tmp_path):
    class Stop(Exception):
        pass

    def stop(epoch, scores):
        if epoch == 3:
            raise Stop

    settings = TrainingSettings(epochs=4, batch_size=16, learning_rate=3e-3)
    whole = train(settings, folder=tmp_path / "whole")
    with pytest.raises(Stop):
        train(settings, folder=tmp_path / "cut", report=stop)
    resumed = train(settings, folder=tmp_path / "cut")
    np.testing.assert_array_equal(resumed.predict(VALID[0]), whole.predict(VALID[0]))
    assert not (tmp_path / "whole" / "attempt-0" / "checkpoints").exists()
    assert (tmp_path / "whole" / "attempt-0" / "tensorboard").is_dir()


def test_saved_models_predict_the_same_and_start_others(tmp_path):
    trained = train()
    (tmp_path / "tok.json").write_text("{}")
    trained.save(tmp_path / "model", tmp_path / "tok.json")
    again = load_sequence_model(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(VALID[0]), trained.predict(VALID[0]))
    assert again.class_names == CLASSES and again.attempts == trained.attempts
    assert find_tokenizer(tmp_path / "model").read_text() == "{}"
    warm = train(TrainingSettings(epochs=1, learning_rate=1e-6), tmp_path / "model")
    assert accuracy(warm, *VALID) >= accuracy(trained, *VALID) - 0.05
    with pytest.raises(FileNotFoundError, match=r"sequence_model.json is missing"):
        load_sequence_model(tmp_path)


def test_released_settings_read_the_first_token():
    assert REFERENCE["pooling"] == "first" and REFERENCE["select"] == "loss"
    trained = train(TrainingSettings(**{**vars(FAST), **REFERENCE, "epochs": 1}))
    assert trained.layout.before is None
    ids = trained.windows(TRAIN[0][:1]).pad(np.array([0]))["input_ids"][0].tolist()
    assert ids == TRAIN[0][0].tolist()


# --- windows and batches ---------------------------------------------------------------------


def test_windows_by_hand():
    layout = Layout(pad_id=3, max_ids=6, before=27, behind=26)
    rows = [np.array([5, 6]), np.arange(10, 16), np.array([7])]
    windows = make_windows(rows, layout)
    assert windows.first_S.tolist() == [0, 1, 3, 4]  # 6 tokens in windows of 4
    padded = windows.pad(np.arange(4))
    assert padded["input_ids"].tolist() == [
        [27, 5, 6, 26, 3, 3],
        [27, 10, 11, 12, 13, 26],
        [27, 12, 13, 14, 15, 26],
        [27, 7, 26, 3, 3, 3],
    ]
    assert padded["attention_mask"].sum(1).tolist() == [4, 6, 6, 3]
    cut = make_windows(rows, layout, "cut")
    assert cut.n_cut == 1 and cut.first_S.tolist() == [0, 1, 2, 3]
    assert cut.pad(np.array([1]))["input_ids"].tolist() == [[27, 10, 11, 12, 13, 26]]


def test_long_rows_are_read_to_the_end(caplog):
    """A row of 40 tokens for a network of 16 positions: its last token still matters."""
    trained = train(TrainingSettings(epochs=1))
    long = np.concatenate([TRAIN[0][0]] * 8)[:40]
    other = long.copy()
    other[-1] = 25 if other[-1] != 25 else 5
    probs = trained.predict([long, other])
    assert not np.allclose(probs[0], probs[1])
    cut = make_windows([long], trained.layout, "cut")
    assert cut.n_cut == 1 and "1 of 1 rows have more than 16 tokens" in caplog.text


def test_every_epoch_holds_every_row_once():
    rows, labels = toy_rows(50, seed=3)
    windows = make_windows(rows, make_layout_of(16))
    batch = batch_rows(windows, labels, 8, seed=1)
    for epoch in range(2):
        made = [batch(epoch * 7 + i, 0) for i in range(7)]
        assert [one["n_targets"] for one in made] == [8] * 6 + [2]
        assert sum(one["n_tokens"] for one in made) == sum(map(len, rows))
        assert sum(one["labels_B"].sum() for one in made) == labels.sum()
    again = batch_rows(windows, labels, 8, seed=1)(3, 0)
    assert torch.equal(again["input_ids"], batch(3, 0)["input_ids"])


def make_layout_of(max_ids: int) -> Layout:
    return Layout(pad_id=3, max_ids=max_ids)


def test_rows_of_one_batch_are_alike_in_length():
    rows, labels = toy_rows(512, seed=3, low=2, high=60)
    windows = make_windows(rows, make_layout_of(64))
    batch = batch_rows(windows, labels, 16, seed=1)
    made = [batch(i, 0) for i in range(32)]
    padding = sum(int((b["attention_mask"] == 0).sum()) for b in made)
    assert padding < 0.1 * sum(map(len, rows))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"select": "auc"}, "select is 'auc'"),
        ({"class_weights": "equal"}, "class_weights is 'equal'"),
        ({"learning_rate": 0.0}, "learning_rate 0.0"),
        ({"pooling": "max"}, "pooling is 'max'"),
        ({"long": "drop"}, "long is 'drop'"),
        ({"metric": "f2"}, "metric is 'f2', expected one of accuracy, f1"),
    ],
)
def test_wrong_settings(change, said):
    with pytest.raises(ValueError, match=said):
        train(TrainingSettings(**{**vars(FAST), **change}))


def test_wrong_data():
    rows, labels = TRAIN
    with pytest.raises(ValueError, match="all 3 training rows are of class no"):
        train_classifier((rows[:3], np.zeros(3, int)), tiny_config(), TOKENS, CLASSES)
    with pytest.raises(ValueError, match=r"row 1 \(0-based\) has no tokens"):
        train_classifier(([rows[0], rows[0][:0]], labels[:2]), tiny_config(), TOKENS, CLASSES)
    with pytest.raises(ValueError, match="the tokenizer has 42"):
        train_classifier(TRAIN, tiny_config(), unigram_tokens(40), CLASSES)
    with pytest.raises(ValueError, match="no such token"):
        make_layout(None, TOKENS._replace(cls_id=None), "cls")
