"""Fine-tuning on expression: it learns, masks, repeats, resumes, and is used as it was trained."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from expression_toy import TISSUES, config, expression_set, random_promoters, tokenizer
from transformers import BertConfig

from genomelm_utils.models.alibi_bert import alibi_config
from genomelm_utils.models.expression_heads import ExpressionModel
from genomelm_utils.models.florabert import FloraBertForMaskedLM, build_flora_mlm
from genomelm_utils.tasks import frozen_features
from genomelm_utils.tasks.label_transform import LabelTransform
from genomelm_utils.tasks.regression import (
    RegressionSettings,
    RegressionTask,
    fine_tune,
    fine_tune_seeds,
    learning_rates,
    planned_steps,
    prepare,
    train,
)
from genomelm_utils.tasks.regression_inputs import PUBLISHED
from genomelm_utils.tasks.regression_modes import MODES, Mode
from genomelm_utils.tasks.regressor import (
    Regressor,
    load_regressor,
    predict_fasta,
    predict_mean,
    run_rows,
    write_tpm_table,
)
from genomelm_utils.tokenizers.bpe import train_bpe
from genomelm_utils.tokenizers.kmer import build_tokenizer, vocab_size

QUICK = RegressionSettings(
    mode=Mode(), epochs=12, batch_size=8, peak_lr=5e-3, head_dropout=0.0, warmup_steps=5
)
ONE = RegressionSettings(epochs=1, batch_size=16, peak_lr=1e-3)


@pytest.fixture(scope="module")
def words():
    return tokenizer()


@pytest.fixture(scope="module")
def genes():
    return expression_set(np.random.default_rng(2), 160)


@pytest.fixture(scope="module")
def trained(words, genes):
    return fine_tune(config(), genes, tokenizer=words, settings=QUICK, seed=1)


def squared_correlation(regressor, genes) -> float:
    test = genes.select("test")
    y = regressor.transform.apply(test.tpm_ST)
    p = regressor.predict(test.genes["sequence"].tolist())
    known = ~np.isnan(y)
    return np.corrcoef(y[known], p[known])[0, 1] ** 2


def test_learns_a_planted_word(trained, genes):
    assert squared_correlation(trained, genes) > 0.5
    history = trained.history
    assert history["valid_loss"].min() < 0.8 * history["valid_loss"].iloc[0]
    assert history.loc[history["step"] == 0, "valid_loss"].notna().all()
    tpm = trained.predict_tpm(genes.genes["sequence"].tolist()[:5])
    assert tpm.shape == (5, 3)
    assert (tpm >= 0).all()


def test_a_prediction_does_not_depend_on_its_batch(trained, genes, rng):
    sequences = genes.genes["sequence"].tolist()[:40]
    expected = trained.predict(sequences)
    order = rng.permutation(40)
    assert np.allclose(trained.predict([sequences[i] for i in order]), expected[order], atol=1e-5)
    for budget in (1, 100, 100_000):
        assert np.allclose(trained.predict(sequences, token_budget=budget), expected, atol=1e-5)
    assert np.allclose(trained.predict(sequences[:1]), expected[:1], atol=1e-5)


def test_saved_and_loaded_it_predicts_the_same(trained, genes, tmp_path):
    sequences = genes.genes["sequence"].tolist()[:10]
    trained.save(tmp_path / "model")
    loaded = load_regressor(tmp_path / "model")
    assert (loaded.predict(sequences) == trained.predict(sequences)).all()
    assert loaded.transform == trained.transform
    assert (loaded.mode, loaded.max_ids, loaded.tissues) == (Mode(), 64, TISSUES)
    assert loaded.settings["seed"] == 1
    assert loaded.history["step"].tolist() == trained.history["step"].tolist()
    assert loaded.embed(sequences).shape == (10, 16)
    # the embedding and the tissue embeddings are what the output is made of
    values = loaded.embed(sequences) @ loaded.model.tissue_embeddings().numpy().T
    values += loaded.model.head.output.bias.detach().numpy()
    assert np.allclose(values, loaded.predict(sequences), atol=1e-5)
    (tmp_path / "model" / "label_transform.json").unlink()
    with pytest.raises(FileNotFoundError, match="predictions have no unit"):
        load_regressor(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match=r"regressor\.json is missing"):
        load_regressor(tmp_path)


def test_files_of_two_models_are_told_apart(trained, tmp_path):
    trained.save(tmp_path)
    LabelTransform(("a", "b", "c")).save(tmp_path)
    with pytest.raises(ValueError, match="the files are of two models"):
        load_regressor(tmp_path)


def test_fasta_becomes_a_tpm_table(trained, tmp_path, rng, caplog):
    sequences = random_promoters(rng, 5)
    text = "".join(f">gene{i}::chr1:1-9(+)\n{one}\n" for i, one in enumerate(sequences))
    (tmp_path / "p.fa").write_text(text.lower() + ">empty\nNNNN\n>odd\nACGTRYACGT\n")
    with caplog.at_level(logging.WARNING):
        n = write_tpm_table(trained, tmp_path / "p.fa", tmp_path / "tpm.tsv")
    assert n == 6
    assert "left out 1 records: no definite base (N only): empty" in caplog.text
    table = pd.read_csv(tmp_path / "tpm.tsv", sep="\t")
    assert table.columns.tolist() == ["name", *TISSUES]
    expected = trained.predict_tpm([*sequences, "ACGTNNACGT"])
    assert np.allclose(table[list(TISSUES)], expected, rtol=1e-4)
    with pytest.raises(FileNotFoundError):
        write_tpm_table(trained, tmp_path / "none.fa", tmp_path / "other.tsv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.fa", "tpm.tsv"]


def test_blocks_of_a_fasta_are_one_table(trained, tmp_path, rng, monkeypatch):
    monkeypatch.setattr("genomelm_utils.tasks.regressor.BLOCK_RECORDS", 2)
    sequences = random_promoters(rng, 5)
    text = "".join(f">g{i}\n{one}\n" for i, one in enumerate(sequences))
    (tmp_path / "p.fa").write_text(text)
    tables = list(predict_fasta(trained, tmp_path / "p.fa"))
    assert [len(one) for one in tables] == [2, 2, 1]
    assert write_tpm_table(trained, tmp_path / "p.fa", tmp_path / "out.tsv") == 5
    assert pd.read_csv(tmp_path / "out.tsv", sep="\t")["name"].tolist() == [
        f"g{i}" for i in range(5)
    ]


def test_same_seed_same_weights_and_the_source_is_left_alone(words, genes):
    masked_lm = build_flora_mlm(config(), seed=3)
    before = {name: value.clone() for name, value in masked_lm.state_dict().items()}
    one, two, other = (
        fine_tune(masked_lm, genes, tokenizer=words, settings=ONE, seed=s) for s in (0, 0, 1)
    )
    sequences = genes.genes["sequence"].tolist()[:4]
    assert (one.predict(sequences) == two.predict(sequences)).all()
    assert (one.predict(sequences) != other.predict(sequences)).any()
    assert all(torch.equal(before[k], v) for k, v in masked_lm.state_dict().items())
    assert masked_lm.training is False or all(p.requires_grad for p in masked_lm.parameters())


def test_interrupted_and_resumed_is_the_same(words, genes, tmp_path, monkeypatch):
    settings = RegressionSettings(epochs=3, batch_size=16, peak_lr=3e-3)
    prepared = prepare(config(), genes, words, settings)
    whole = train(prepared, settings, seed=0)
    import genomelm_utils.training.engine as engine

    record, calls = engine.Training.record, []

    def stop(self, evaluate):
        calls.append(self.progress.step)
        if self.progress.step >= 13:
            raise KeyboardInterrupt
        return record(self, evaluate)

    monkeypatch.setattr(engine.Training, "record", stop)
    with pytest.raises(KeyboardInterrupt):
        train(prepared, settings, seed=0, folder=tmp_path)
    monkeypatch.undo()
    resumed = train(prepared, settings, seed=0, folder=tmp_path, resume=True)
    sequences = genes.genes["sequence"].tolist()[:20]
    assert (resumed.predict(sequences) == whole.predict(sequences)).all()
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    assert load_regressor(newest).predict(sequences).shape == (20, 3)


def test_the_weights_of_the_lowest_validation_loss_are_kept(words, genes):
    wild = RegressionSettings(epochs=4, batch_size=16, peak_lr=0.3, schedule="constant")
    prepared = prepare(config(), genes, words, wild)
    found = train(prepared, wild, seed=0)
    losses = found.history["valid_loss"].dropna()
    y = prepared.valid_targets_ST
    p = found.predict(genes.select("valid").genes["sequence"].tolist())
    known = ~np.isnan(y)
    assert ((y - p)[known] ** 2).mean() == pytest.approx(losses.min(), rel=1e-4)


def test_nothing_learned_is_said(words, genes, caplog):
    still = RegressionSettings(epochs=1, batch_size=16, peak_lr=0.0)
    with caplog.at_level(logging.WARNING):
        fine_tune(config(), genes, tokenizer=words, settings=still)
    assert "nothing learned" in caplog.text


@pytest.mark.parametrize("name", MODES)
def test_every_mode_trains_and_predicts(words, genes, name):
    settings = RegressionSettings(
        mode=Mode(name), epochs=3, batch_size=8, peak_lr=5e-3, head_dropout=0.0
    )
    found = fine_tune(config(), genes, tokenizer=words, settings=settings, seed=0)
    losses = found.history["valid_loss"].dropna()
    assert losses.min() < losses.iloc[0]
    sequences = genes.genes["sequence"].tolist()[:6]
    p = found.predict(sequences)
    assert np.isfinite(p).all()
    if name == "classification":
        assert ((p >= 0) & (p <= 1)).all()
        with pytest.raises(ValueError, match="predicts no TPM"):
            found.predict_tpm(sequences)
    else:
        assert np.isfinite(found.predict_tpm(sequences)).all()


def test_missing_labels_are_masked_or_by_reference_dropped(words, genes, caplog):
    settings = RegressionSettings(missing="reference")
    corrected = prepare(config(), genes, words, RegressionSettings())
    with caplog.at_level(logging.WARNING):
        reference = prepare(config(), genes, words, settings)
    train_tpm = genes.select("train").tpm_ST
    complete = (~np.isnan(train_tpm)).all(1)
    labelled = (~np.isnan(train_tpm)).any(1)
    assert len(corrected.train_rows) == labelled.sum()
    assert len(reference.train_rows) == complete.sum() < labelled.sum()
    assert reference.n_dropped == (labelled & ~complete).sum()
    assert f"{reference.n_dropped} more because a label is missing" in caplog.text
    values = corrected.train_targets_ST
    assert np.isnan(values).sum() == np.isnan(train_tpm[labelled]).sum()


def test_a_masked_label_gives_no_gradient(words, genes):
    prepared = prepare(config(), genes, words, ONE)
    regressor = train(prepared, ONE, seed=0)
    task = RegressionTask(regressor).eval()
    batch = prepared.train_rows.pad(np.arange(8))
    target = torch.full((8, 3), float("nan"))
    target[:, 1] = 1.0
    loss, n = task(**batch, target_BT=target)
    loss.backward()
    assert int(n) == 8
    assert (regressor.model.head.output.weight.grad[[0, 2]] == 0).all()
    assert (regressor.model.head.output.weight.grad[1] != 0).any()


def test_frozen_encoder_stays_as_it_was(words, genes):
    masked_lm = build_flora_mlm(config(), seed=3)
    probe = RegressionSettings(epochs=2, batch_size=16, peak_lr=1e-2, freeze="encoder")
    found = fine_tune(masked_lm, genes, tokenizer=words, settings=probe)
    for name, value in masked_lm.roberta.state_dict().items():
        assert torch.equal(found.model.encoder.state_dict()[name], value)
    losses = found.history["valid_loss"].dropna()
    assert losses.min() < losses.iloc[0]
    task = RegressionTask(found, frozen=True).train()
    assert not task.model.encoder.training
    assert task.model.head.training


def fake_task(words, **changes) -> RegressionTask:
    from genomelm_utils.tasks.regression_inputs import build_model

    model = build_model(config(**changes), words, RegressionSettings(), TISSUES, seed=0)
    return RegressionTask(Regressor(model, words, LabelTransform(TISSUES), Mode(), 64))


def group_of(name: str, by_prefix: dict[str, float]) -> float | None:
    fitting = [prefix for prefix in by_prefix if name.startswith(prefix)]
    assert len(fitting) <= 1, name
    return by_prefix[fitting[0]] if fitting else None


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_a_frozen_encoder_is_asked_once_and_teaches_the_same(words, genes, pooling, monkeypatch):
    """Features in memory, or encoded anew in every epoch: equal losses, but for rounding."""
    settings = RegressionSettings(
        epochs=3, batch_size=16, peak_lr=1e-2, freeze="encoder", pooling=pooling
    )
    calls = []
    encode = ExpressionModel.encode
    monkeypatch.setattr(
        ExpressionModel, "encode", lambda *a, **k: calls.append(1) or encode(*a, **k)
    )
    kept = fine_tune(config(), genes, tokenizer=words, settings=settings, seed=4)
    n_kept = len(calls)
    monkeypatch.setattr(frozen_features, "MAX_BYTES", 0)
    again = fine_tune(config(), genes, tokenizer=words, settings=settings, seed=4)
    assert n_kept < (len(calls) - n_kept) / 3
    for column in ("train_loss", "valid_loss"):
        losses = (one.history[column].dropna() for one in (kept, again))
        assert np.allclose(*losses, rtol=1e-5)


def test_layers_learn_at_their_own_rates(words):
    task = fake_task(words, num_hidden_layers=3)
    assert learning_rates(task, RegressionSettings()) == {}
    scales = learning_rates(task, RegressionSettings(layer_decay=0.5))["lr_scales"]
    for name, _ in task.named_parameters():
        expected = {"model.head": None, "model.enco": 0.0625}[name[:10]]
        if ".layer." in name:
            expected = 0.5 ** (3 - int(name.split(".layer.")[1][0]))
        assert group_of(name, scales) == expected, name
    with pytest.raises(ValueError, match="factor is -1, expected in"):
        learning_rates(task, RegressionSettings(layer_decay=-1))


def test_unfreezing_holds_embeddings_and_the_whole_head_once(words):
    settings = RegressionSettings(unfreeze_groups=3, unfreeze_delay=500, schedule="constant")
    task = fake_task(words, num_hidden_layers=6)
    rates = learning_rates(task, settings)
    for name, parameter in task.named_parameters():
        depth = 0 if name.startswith("model.head") else 3
        if ".layer." in name:
            depth = 3 - int(name.split(".layer.")[1][0]) // 2
        assert group_of(name, rates["lr_delays"]) == (500 * depth or None), name
        assert group_of(name, rates["lr_scales"]) == (0.5**depth if depth else None), name
        assert parameter.requires_grad
    reference = RegressionSettings(
        unfreeze_groups=3, schedule="constant", unfreeze_rule="reference"
    )
    learning_rates(task, reference)
    learns = [n for n, p in task.named_parameters() if p.requires_grad and ".layer." not in n]
    assert learns == ["model.head.dense1.weight"]


def test_unfreezing_reaches_the_optimiser(words, genes):
    masked_lm = build_flora_mlm(config(), seed=3)
    for delay, moved in ((1000, False), (2, True)):
        settings = replace(
            QUICK, epochs=4, unfreeze_groups=1, unfreeze_delay=delay, schedule="constant"
        )
        found = fine_tune(masked_lm, genes, tokenizer=words, settings=settings)
        same = [
            torch.equal(found.model.encoder.state_dict()[name], value)
            for name, value in masked_lm.roberta.state_dict().items()
        ]
        assert all(same) is not moved


def test_lamb_is_an_option(words, genes):
    sequences = genes.genes["sequence"].tolist()[:4]
    found = {
        name: fine_tune(
            config(), genes, tokenizer=words, settings=replace(QUICK, epochs=2, optimizer=name)
        )
        for name in ("lamb", "adamw")
    }
    assert found["lamb"].history["train_loss"].dropna().map(np.isfinite).all()
    assert not np.allclose(*(one.predict(sequences) for one in found.values()))
    with pytest.raises(ValueError, match="optimizer is 'sgd', expected one of: adamw"):
        fine_tune(config(), genes, tokenizer=words, settings=RegressionSettings(optimizer="sgd"))


def test_precision_reaches_the_loop(words, genes):
    """bf16 rounds: another loss than in float32; an unknown one is refused by the loop."""
    found = [
        fine_tune(config(), genes, tokenizer=words, settings=replace(QUICK, precision=name))
        for name in ("fp32", "bf16")
    ]
    losses = [one.history["train_loss"].dropna().to_numpy() for one in found]
    assert not np.array_equal(*losses)
    with pytest.raises(ValueError, match="precision"):
        fine_tune(config(), genes, tokenizer=words, settings=replace(QUICK, precision="fp8"))


def test_layer_decay_reaches_the_optimiser(words, genes):
    nearly_still = RegressionSettings(epochs=1, batch_size=16, peak_lr=1e-2, layer_decay=1e-9)
    model = build_flora_mlm(config(), seed=3)
    found = fine_tune(model, genes, tokenizer=words, settings=nearly_still)
    for name, value in model.roberta.state_dict().items():
        assert torch.allclose(found.model.encoder.state_dict()[name], value, atol=1e-6)


@pytest.mark.parametrize("kind", ["bert", "alibi"])
@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_other_encoders_and_tokenizers(genes, kind, pooling):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 32}  # fmt: skip
    if kind == "bert":
        words, source = build_tokenizer(3), BertConfig(vocab_size=vocab_size(3), **sizes)
    else:
        words = train_bpe(random_promoters(np.random.default_rng(1), 100), 40)
        source = alibi_config("nano", vocab_size=40, **sizes)
    settings = RegressionSettings(epochs=1, batch_size=16, pooling=pooling, batch_norm=True)
    found = fine_tune(source, genes, tokenizer=words, settings=settings)
    sequences = genes.genes["sequence"].tolist()[:8]
    assert np.allclose(found.predict(sequences)[3], found.predict(sequences[3:4])[0], atol=1e-5)


def test_released_florabert_counts_positions_as_released(words, genes, tmp_path):
    masked_lm = build_flora_mlm(config(positions="reference"), seed=0)
    masked_lm.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    plain = FloraBertForMaskedLM.from_pretrained(tmp_path)
    del plain.config.tss_positions
    plain.save_pretrained(tmp_path)
    found = fine_tune(tmp_path, genes, settings=ONE)
    assert found.model.encoder.config.tss_positions == "reference"
    sequences = genes.genes["sequence"].tolist()[:8]
    assert np.allclose(found.predict(sequences)[3], found.predict(sequences[3:4])[0], atol=1e-5)


def test_several_seeds_and_their_mean(words, genes, tmp_path):
    found = fine_tune_seeds(config(), genes, [0, 1], tokenizer=words, settings=ONE, folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed-0", "seed-1"]
    alone = fine_tune(config(), genes, tokenizer=words, settings=ONE, seed=1)
    sequences = genes.genes["sequence"].tolist()[:6]
    assert (found[1].predict(sequences) == alone.predict(sequences)).all()
    mean = predict_mean(list(found.values()), sequences)
    expected = (found[0].predict(sequences) + found[1].predict(sequences)) / 2
    assert np.allclose(mean, expected, atol=1e-6)
    with pytest.raises(ValueError, match="same label transform"):
        predict_mean([], sequences)


def test_labels_may_be_standardised_and_gaps_are_used(words, genes):
    tpm = genes.select("train").tpm_ST
    change = LabelTransform.fit(tpm, TISSUES, standardise=True)
    settings = RegressionSettings(
        epochs=3, batch_size=8, peak_lr=5e-3, head_dropout=0.0, pooling="attention"
    )
    found = fine_tune(config(), genes, tokenizer=words, settings=settings, transform=change)
    sequences = genes.genes["sequence"].tolist()[:20]
    assert np.nanmean(found.predict_tpm(sequences)) > 1
    with torch.no_grad():
        found.model.pool.bias[:4] = 3.0
    near, far = found.predict(sequences), found.predict(sequences, gap_bp=[500] * 20)
    assert np.abs(near - far).max() > 1e-4


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_train(words, genes, name):
    short = replace(PUBLISHED[name], epochs=2, batch_size=4, accumulate=3, warmup_steps=2)
    found = fine_tune(config(), genes, tokenizer=words, settings=short)
    assert found.model.encoder.config.hidden_dropout_prob == 0.2
    assert (found.truncate, found.model.config.mask_rule) == ("reference", "reference")
    assert found.history["lr"].iloc[-1] == PUBLISHED[name].peak_lr
    assert np.isfinite(found.predict(genes.genes["sequence"].tolist()[:3])).all()


def test_published_number_of_steps():
    assert planned_steps(500_000, 64, 3, 10) == 2343
    assert planned_steps(3, 64, 1, 10) == 1


def test_nothing_of_a_batch_is_kept_while_predicting(trained, rng):
    import weakref

    hidden, n_alive = [], []
    hook = trained.model.encoder.register_forward_hook(
        lambda _module, _args, output: hidden.append(weakref.ref(output.last_hidden_state))
    )
    try:
        for _ in run_rows(trained.model, trained.rows(random_promoters(rng, 60)), token_budget=200):
            n_alive.append(sum(one() is not None for one in hidden))
    finally:
        hook.remove()
    assert len(n_alive) > 5
    assert max(n_alive) == 0  # the head's outputs hold no hidden states, however many genes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer": None}, "tokenizer is missing"),
        ({"transform": LabelTransform(("a", "b"))}, "the label transform is of a, b, the set of"),
        ({"tokenizer": build_tokenizer(6)}, "the tokenizer has 4101 tokens, the encoder 60"),
    ],
)
def test_wrong_input_says_what_is_wrong(words, genes, change, message):
    with pytest.raises(ValueError, match=message):
        fine_tune(config(), genes, **{"tokenizer": words, "settings": ONE, **change})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"missing": "old"}, "missing is 'old', expected corrected or reference"),
        ({"freeze": "all"}, "freeze is 'all', expected none or encoder"),
        (
            {"freeze": "encoder", "layer_decay": 0.5},
            "freeze 'encoder' and layer_decay below 1 contradict each other",
        ),
        ({"unfreeze_groups": 2}, "unfreeze_groups needs schedule 'constant', found 'linear'"),
        ({"epochs": 0}, "epochs is 0, expected at least 1"),
    ],
)
def test_wrong_settings_say_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        RegressionSettings(**options)


def test_sets_without_labels_or_parts(words, genes, caplog):
    empty = genes.tpm_ST.copy()
    empty[(genes.genes["part"] == "train").to_numpy()] = np.nan
    with pytest.raises(ValueError, match="none of 96 training promoters is left"):
        fine_tune(config(), replace(genes, tpm_ST=empty), tokenizer=words, settings=ONE)
    only = genes.select("train")
    with caplog.at_level(logging.WARNING):
        found = fine_tune(config(), only, tokenizer=words, settings=ONE)
    assert "no part 'valid': the last weights are kept" in caplog.text
    assert found.history["train_loss"].notna().any()
    no_valid = genes.tpm_ST.copy()
    no_valid[(genes.genes["part"] == "valid").to_numpy()] = np.nan
    with pytest.raises(ValueError, match="no validation promoter has a label"):
        fine_tune(config(), replace(genes, tpm_ST=no_valid), tokenizer=words, settings=ONE)


@pytest.mark.gpu
def test_a_gpu_trains_and_predicts_nearly_the_same(words, genes, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    found = fine_tune(config(), genes, tokenizer=words, settings=QUICK, seed=1)
    assert squared_correlation(found, genes) > 0.4
    sequences = genes.genes["sequence"].tolist()[:40]
    on_gpu = found.predict(sequences)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert np.allclose(on_gpu, found.predict(sequences), atol=0.1)  # bf16 against float32
