"""Fine-tuning: published step counts, exact repetition, windows, both strands, reference bug."""

import logging

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertForSequenceClassification

from genomelm_utils.sequences.alphabet import reverse_complement
from genomelm_utils.tasks.classification import (
    SETTINGS,
    Classifier,
    Settings,
    embed,
    fine_tune,
    load_classifier,
    make_batches,
    probe,
    row_order,
    settings_for,
    steps_for,
)
from genomelm_utils.tasks.windows import build_windows

K = 3
QUICK = Settings(batch_size=8, peak_lr=3e-3, epochs=6)


def micro_config(positions: int = 64) -> BertConfig:
    return BertConfig(
        vocab_size=69,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
        pad_token_id=0,
    )


def planted_set(rng, n_rows: int = 64, length: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Random sequences; those of class 1 hold GATTACA near the middle."""
    labels = np.arange(n_rows) % 2
    codes = rng.integers(0, 4, size=(n_rows, length)).astype(np.uint8)
    codes[labels == 1, 12:19] = [2, 0, 3, 3, 0, 1, 0]
    return codes, labels


@pytest.fixture(scope="module")
def trained() -> Classifier:
    train = planted_set(np.random.default_rng(1))
    return fine_tune(micro_config(), train, k=K, settings=QUICK, seed=0)


@pytest.mark.parametrize(
    ("shots", "total", "warmup"),
    [(10, 80, 8), (50, 400, 40), (100, 800, 80), (500, 335, 33), (1000, 670, 67)],
)
def test_published_step_counts(shots, total, warmup):
    found = steps_for(2 * shots, settings_for(shots))
    assert (found.total, found.warmup) == (total, warmup)
    assert SETTINGS[settings_for(shots)].epochs * found.per_epoch == total


def test_learns_a_planted_motif_and_predicts_without_labels(trained, rng):
    codes, labels = planted_set(rng, 200)
    probs = trained.predict(codes)
    assert probs.shape == (200, 2)
    assert probs.dtype == np.float64
    assert probs.sum(1) == pytest.approx(1)
    assert (probs.argmax(1) == labels).mean() > 0.9
    assert not trained.collapsed
    history = trained.history
    assert history["step"].tolist() == [8, 16, 24, 32, 40, 48]
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]


def test_same_seed_same_weights_and_callers_state_untouched(rng):
    train = planted_set(rng, 16)
    config = micro_config()
    with torch.random.fork_rng(devices=[]):
        masked_lm = BertForMaskedLM(config)
    before = {name: value.clone() for name, value in masked_lm.state_dict().items()}
    state = torch.get_rng_state()
    one, two, other = (
        fine_tune(masked_lm, train, k=K, settings="few", seed=seed).predict(train[0])
        for seed in (3, 3, 4)
    )
    assert (one == two).all()
    assert (one != other).any()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], v) for name, v in masked_lm.state_dict().items())
    assert config.to_dict() == micro_config().to_dict()


def test_saved_classifier_predicts_the_same(trained, rng, tmp_path):
    codes, _ = planted_set(rng, 20)
    folder = trained.save(tmp_path / "classifier")
    loaded = load_classifier(folder)
    assert (loaded.predict(codes) == trained.predict(codes)).all()
    assert (loaded.k, loaded.new_weights) == (K, trained.new_weights)
    assert loaded.history["step"].tolist() == trained.history["step"].tolist()
    # a plain Hugging Face user gets the same from k-mer text
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    text = " ".join("".join("ACGT"[b] for b in codes[0][i : i + K]) for i in range(40 - K + 1))
    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        probs = model(**ids).logits.double().softmax(1).numpy()
    assert probs[0] == pytest.approx(trained.predict(codes[:1])[0], abs=1e-6)
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_classifier(tmp_path)


def test_order_and_neighbours_do_not_change_a_prediction(trained, rng):
    codes = [rng.integers(0, 4, n).astype(np.uint8) for n in rng.integers(10, 300, 30)]
    probs = trained.predict(codes)
    order = rng.permutation(30)
    assert trained.predict([codes[i] for i in order]) == pytest.approx(probs[order], abs=1e-6)
    assert trained.predict(codes[:1]) == pytest.approx(probs[:1], abs=1e-6)


def test_long_sequences_average_their_windows(trained, rng):
    (long,) = (rng.integers(0, 4, 150).astype(np.uint8),)
    windows = build_windows([long], K, 62)
    assert len(windows.begin_W) > 2
    model = trained.model
    with torch.no_grad():
        logits = [model(**windows.pad(np.array([w]))).logits for w in range(len(windows.begin_W))]
    expected = torch.cat(logits).double().mean(0).softmax(0).numpy()
    assert trained.predict([long])[0] == pytest.approx(expected, abs=1e-6)
    # a stretch of N beyond the windows of the sequence is skipped, not averaged in
    padded = np.concatenate([long[:62], np.full(400, 14)]).astype(np.uint8)
    n_windows = len(build_windows([padded], K, 62).begin_W)
    assert n_windows < 5


def test_fine_tuning_on_long_and_unequal_sequences(rng):
    labels = np.arange(24) % 2
    codes = [rng.integers(0, 4, n).astype(np.uint8) for n in rng.integers(30, 200, 24)]
    for one, label in zip(codes, labels, strict=True):
        one[::2] = 2 if label else 0
    longer = Settings(batch_size=8, peak_lr=3e-3, epochs=25)
    classifier = fine_tune(micro_config(32), (codes, labels), k=K, settings=longer, seed=0)
    assert (classifier.predict(codes).argmax(1) == labels).all()


def test_both_strands_make_the_prediction_independent_of_strand(trained, rng):
    codes, _ = planted_set(rng, 12)
    other = [reverse_complement(row) for row in codes]
    both = trained.predict(codes, both_strands=True)
    assert both == pytest.approx(trained.predict(other, both_strands=True), abs=1e-6)
    mean = (trained.predict(codes) + trained.predict(other)) / 2
    assert both == pytest.approx(mean, abs=1e-12)


def test_every_epoch_shows_every_row_once(rng):
    codes, labels = planted_set(rng, 13)
    windows = build_windows(codes, K, 62)
    setting = Settings(batch_size=5, peak_lr=1e-3, epochs=2)
    batches = make_batches(windows, labels, setting, seed=7)
    ids = windows.pad(np.arange(13))["input_ids"]
    for epoch in range(2):
        seen = [batches(3 * epoch + position, 0) for position in range(3)]
        assert [batch["n_targets"] for batch in seen] == [5, 5, 3]
        order = row_order(7, epoch, 13)
        assert torch.equal(torch.cat([batch["input_ids"] for batch in seen]), ids[order])
        assert torch.cat([batch["labels_B"] for batch in seen]).tolist() == labels[order].tolist()
    assert row_order(7, 0, 13).tolist() != row_order(7, 1, 13).tolist()
    assert torch.equal(batches(4, 0)["input_ids"], batches(4, 0)["input_ids"])


def test_reference_resume_bug_skips_ten_batches_and_ten_updates(rng):
    codes, labels = planted_set(rng, 20)
    windows = build_windows(codes, K, 62)
    plain = make_batches(windows, labels, SETTINGS["few"], seed=0)
    buggy = make_batches(windows, labels, SETTINGS["few"], seed=0, n_skipped=10)
    assert torch.equal(buggy(0, 0)["input_ids"], plain(10, 0)["input_ids"])
    assert sum(buggy(step, 0)["n_targets"] > 0 for step in range(80)) == 70

    history = fine_tune(
        micro_config(), (codes, labels), k=K, settings="few", seed=0, reference_resume_bug=True
    ).history
    updates = history[history["n_targets"] > 0]
    assert updates["n_targets"].sum() == 70 * 5
    assert updates["train_loss"].notna().all()


def test_collapse_is_reported(rng, caplog):
    train = planted_set(rng, 10)
    still = Settings(batch_size=5, peak_lr=0.0, epochs=1)
    with caplog.at_level(logging.WARNING, logger="genomelm_utils.tasks.classification"):
        classifier = fine_tune(
            micro_config(), (train[0], np.array([0] * 9 + [1])), k=K, settings=still, seed=0
        )
    probs = classifier.predict(train[0])
    assert classifier.collapsed == (len(set(probs.argmax(1))) == 1)
    assert classifier.collapsed == ("collapsed: class" in caplog.text)
    assert classifier.collapsed


def test_probe_tells_planted_classes_apart(rng, tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        masked_lm = BertForMaskedLM(micro_config())
    masked_lm.save_pretrained(tmp_path)
    codes, labels = planted_set(rng, 120)
    codes[labels == 1, 20:40] = 2
    features = embed(tmp_path, codes, k=K)
    assert features.shape == (120, 32)
    probs = probe(tmp_path, (codes[:60], labels[:60]), codes[60:], K)
    assert (probs.argmax(1) == labels[60:]).mean() > 0.9
    assert (probs == probe(masked_lm, (codes[:60], labels[:60]), codes[60:], K)).all()


def test_three_classes_and_a_class_without_rows(rng):
    codes, labels = planted_set(rng, 12)
    classifier = fine_tune(
        micro_config(), (codes, labels), k=K, settings=QUICK, seed=0, n_classes=3
    )
    assert classifier.predict(codes).shape == (12, 3)


def test_wrong_input_says_what_is_wrong(rng):
    codes, labels = planted_set(rng, 6)
    with pytest.raises(ValueError, match="expected one of few, many"):
        fine_tune(micro_config(), (codes, labels), k=K, settings="some", seed=0)
    with pytest.raises(ValueError, match="expected 6: one per sequence"):
        fine_tune(micro_config(), (codes, labels[:5]), k=K, settings="few", seed=0)
    with pytest.raises(ValueError, match="must be 0, 1, 2"):
        fine_tune(micro_config(), (codes, labels - 1), k=K, settings="few", seed=0)
    with pytest.raises(ValueError, match="expected 1029 for k = 5"):
        fine_tune(micro_config(), (codes, labels), k=5, settings="few", seed=0)


@pytest.mark.gpu
def test_a_gpu_predicts_what_the_cpu_predicts(trained, rng, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    codes = [rng.integers(0, 4, n).astype(np.uint8) for n in rng.integers(10, 300, 40)]
    on_gpu = trained.predict(codes)
    assert next(trained.model.parameters()).device.type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert on_gpu == pytest.approx(trained.predict(codes), abs=0.02)  # bf16 against float32
