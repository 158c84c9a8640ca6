"""The few-shot protocol: every row once, kept rows only for equal inputs, sentences that hold."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from transformers import BertConfig

from genomelm_utils.datasets.labelled import LabelledSet
from genomelm_utils.tasks import fewshot
from genomelm_utils.tasks.fewshot import (
    KEY,
    METRICS,
    Settings,
    compare_models,
    describe_best,
    hash_inputs,
    limit_rows,
    main_table,
    run_fewshot,
    summarise,
)

SETTINGS = Settings(k=3)


def labelled(seed: int, n_per_class: int) -> LabelledSet:
    """Two classes that a GC baseline can tell in part."""
    rng = np.random.default_rng(seed)
    labels = np.arange(2 * n_per_class) % 2
    probs = np.where(labels[:, None, None] == 1, [0.2, 0.3, 0.3, 0.2], [0.3, 0.2, 0.2, 0.3])
    codes = (rng.random((len(labels), 20, 1)) > probs.cumsum(axis=2)[..., :3]).sum(axis=2)
    return LabelledSet(codes.astype(np.uint8), labels, [f"r{i}" for i in range(len(labels))], "x")


def load(shots: int, draw: int) -> tuple[LabelledSet, LabelledSet]:
    return labelled(1000 + 10 * shots + draw, shots), labelled(7, 15)


@dataclass
class FakeModels:
    """Stands for fine_tune and probe: random probabilities from the arguments, calls recorded."""

    tuned: list
    probed: list
    fail_after: int = 10**6

    def fine_tune(self, source, train, *, k, settings, seed, n_classes, reference_resume_bug):
        if len(self.tuned) >= self.fail_after:
            raise KeyboardInterrupt
        name = "config" if isinstance(source, BertConfig) else source.name
        self.tuned.append((name, len(train[1]), seed, k, settings, reference_resume_bug))
        return FakeClassifier([len(train[1]), seed, sum(map(ord, name))], n_classes)

    def probe(self, source, train, test, k, *, n_classes):
        self.probed.append((source.name, len(train[1])))
        return draw_probs([len(train[1]), sum(map(ord, source.name))], len(test), n_classes)


@dataclass
class FakeClassifier:
    key: list
    n_classes: int

    def predict(self, codes, *, both_strands):
        return draw_probs([*self.key, int(both_strands)], len(codes), self.n_classes)


def draw_probs(key, n_rows, n_classes):
    return np.random.default_rng(key).dirichlet(np.ones(n_classes), n_rows)


@pytest.fixture
def models(tmp_path):
    """Two folders with files of their own, and a config."""
    found = {}
    for name in ("contiguous", "genemask"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(name.encode())
        found[name] = folder
    return {**found, "scratch": BertConfig(vocab_size=69)}


@pytest.fixture
def fake(monkeypatch) -> FakeModels:
    stand_in = FakeModels([], [])
    monkeypatch.setattr(fewshot, "fine_tune", stand_in.fine_tune)
    monkeypatch.setattr(fewshot, "probe", stand_in.probe)
    return stand_in


def run(models, kept=None, load=load, **changes) -> pd.DataFrame:
    options = {"shots": [5, 10], "draws": 2, "seeds": 2, "seed": 40, "settings": SETTINGS}
    return run_fewshot(load, models, ["gc", "majority"], **(options | changes), kept=kept)


# --- rows -----------------------------------------------------------------------------------------


def test_every_method_has_its_rows_and_its_seeds(models, fake):
    table = run(models)
    counts = table.groupby(["method", "model"]).size().to_dict()
    assert counts == {
        ("baseline", "gc"): 4,
        ("baseline", "majority"): 4,
        ("fine-tuned", "contiguous"): 8,
        ("fine-tuned", "genemask"): 8,
        ("fine-tuned", "scratch"): 8,
        ("probe", "contiguous"): 4,
        ("probe", "genemask"): 4,  # there is no frozen encoder to probe from random weights
    }
    assert not table.duplicated(KEY).any()
    assert list(table.columns) == [*KEY, "n_train", "n_test", *METRICS, "collapsed"]
    assert (table["n_train"] == 2 * table["shots"]).all()
    assert (table["n_test"] == 30).all()
    assert {call[2] for call in fake.tuned} == {40, 41}
    assert {row.seed for row in table.itertuples() if row.method != "fine-tuned"} == {0}
    majority = table[table["model"] == "majority"]
    assert (majority["accuracy"] == 0.5).all()
    assert majority["collapsed"].all()
    assert (table.loc[table["model"] == "gc", "accuracy"] > 0.5).all()


def test_models_get_the_settings_of_their_shots(models, fake):
    settings = Settings(k=3, reference_resume_bug=True, lr_factor=3.0)
    run(models, shots=[5, 500], draws=1, seeds=1, settings=settings, with_probe=False)
    rates = {call[1]: call[4].peak_lr for call in fake.tuned}
    # Source: GeneMask's fine-tuning script, 1e-4 up to 100 shots and 5e-5 above
    assert rates == {10: pytest.approx(3e-4), 1000: pytest.approx(1.5e-4)}
    assert {call[4].batch_size for call in fake.tuned} == {5, 15}
    assert all(call[3] == 3 and call[5] for call in fake.tuned)
    assert not fake.probed


def test_unknown_baseline_names_the_choices():
    with pytest.raises(ValueError, match=r"baseline 'kmer5' is unknown, expected one of kmer4"):
        run_fewshot(load, {}, ["kmer5"], shots=[5], draws=1, seeds=1, seed=0, settings=SETTINGS)


# --- kept rows ------------------------------------------------------------------------------------


def test_an_interrupted_run_ends_with_the_same_table(models, fake, tmp_path):
    whole = run(models)
    n_calls, kept = len(fake.tuned), tmp_path / "rows.csv"
    fake.tuned.clear()
    fake.fail_after = 7
    with pytest.raises(KeyboardInterrupt):
        run(models, kept)
    fake.fail_after = 10**6
    again = run(models, kept)
    assert len(fake.tuned) == n_calls  # each fit once, over both tries
    pd.testing.assert_frame_equal(again, whole, check_exact=True)
    assert again.to_csv(index=False) == whole.to_csv(index=False)
    fake.tuned.clear()
    fake.probed.clear()
    assert run(models, kept).to_csv(index=False) == whole.to_csv(index=False)
    assert (fake.tuned, fake.probed) == ([], [])


def test_a_line_cut_short_is_computed_again(models, fake, tmp_path):
    kept = tmp_path / "rows.csv"
    whole = run(models, kept)
    text = kept.read_text()
    kept.write_text(text[: len(text) - 9])
    fake.tuned.clear()
    pd.testing.assert_frame_equal(run(models, kept), whole, check_exact=True)
    assert [call[:3] for call in fake.tuned] == [("config", 20, 41)]
    assert kept.read_text() == text


def test_a_file_of_an_earlier_version_is_started_anew(models, fake, tmp_path):
    kept = tmp_path / "rows.csv"
    kept.write_text("model,method,shots,draw,seed,accuracy\ngc,baseline,5,0,0,0.99\n")
    table = run(models, kept)
    pd.testing.assert_frame_equal(table, run(models), check_exact=True)


def test_names_like_numbers_and_missing_values_come_back(fake, models, tmp_path):
    kept = tmp_path / "rows.csv"
    named = {"10": models["contiguous"], "None": models["genemask"]}
    options = {"shots": [5], "draws": 1, "seeds": 1, "seed": 0, "settings": SETTINGS}

    def one_class(shots, draw):
        train, test = load(shots, draw)
        return train, test.take(test.labels == 1)  # no AUC with one class

    first = run_fewshot(one_class, named, [], **options, kept=kept)
    assert first["auc"].isna().all()
    n_calls = len(fake.tuned)
    second = run_fewshot(one_class, named, [], **options, kept=kept)
    assert len(fake.tuned) == n_calls
    assert second["model"].tolist() == ["10", "10", "None", "None"]
    pd.testing.assert_frame_equal(second, first, check_exact=True)


def test_kept_rows_count_only_for_what_they_were_computed_from(models, fake, tmp_path):
    kept = tmp_path / "rows.csv"
    run(models, kept)
    full = len(fake.tuned)

    def calls(**changes) -> int:
        fake.tuned.clear()
        table = run(models, kept, **changes)
        pd.testing.assert_frame_equal(table, run(models, **changes), check_exact=True)
        return len(fake.tuned) - full  # the second run, without a file, computes all

    assert calls() == 0
    assert calls(seed=90) == full
    assert calls(settings=Settings(k=3, both_strands=True)) == full
    other_test = labelled(8, 15)
    assert calls(load=lambda shots, draw: (load(shots, draw)[0], other_test)) == full
    (models["genemask"] / "model.safetensors").write_bytes(b"trained again")
    assert calls() == full // 3
    assert calls(seed=40) == 0


def test_only_rows_that_are_asked_for_come_out(models, fake, tmp_path):
    kept = tmp_path / "rows.csv"
    run(models, kept)
    fewer = run(models, kept, shots=[10], draws=1, seeds=1)
    assert set(fewer["shots"]) == {10}
    assert set(fewer["draw"]) == set(fewer["seed"]) == {0}


def test_hash_follows_content():
    a = labelled(1, 5)
    assert hash_inputs(a, 1) == hash_inputs(labelled(1, 5), 1) != hash_inputs(a, 2)
    flipped = LabelledSet(a.codes, 1 - a.labels, a.names, a.source)
    assert hash_inputs(flipped) != hash_inputs(a)
    split = [LabelledSet([a.codes[0, :n], a.codes[0, n:]], a.labels[:2], [], "") for n in (3, 4)]
    assert hash_inputs(split[0]) != hash_inputs(split[1])


# --- the fit itself -------------------------------------------------------------------------------


def test_real_fine_tuning_and_probe_fit_in(tmp_path):
    from genomelm_utils.models.presets import build_masked_lm

    build_masked_lm("micro", 3).save_pretrained(tmp_path / "lm")
    table = run_fewshot(
        load, {"lm": tmp_path / "lm"}, ["gc"],
        shots=[2], draws=1, seeds=1, seed=0, settings=Settings(k=3, both_strands=True),
    )  # fmt: skip
    assert table["method"].tolist() == ["baseline", "probe", "fine-tuned"]
    assert table["accuracy"].between(0, 1).all()


# --- tables and sentences -------------------------------------------------------------------------


def test_limit_rows_draws_without_replacement():
    rows = labelled(1, 50)
    few = limit_rows(rows, 30, seed=1)
    assert len(few) == len(set(few.names)) == 30
    where = [rows.names.index(name) for name in few.names]
    assert where == sorted(where)
    assert np.array_equal(few.codes, rows.codes[where])
    assert limit_rows(rows, 30, seed=1).names == few.names != limit_rows(rows, 30, seed=2).names
    assert limit_rows(rows, 0, seed=1) is rows
    assert limit_rows(rows, 100, seed=1) is rows


def results_of(values: dict[str, list[float]], method="fine-tuned", shots=10) -> pd.DataFrame:
    rows = [
        {"model": m, "method": method, "shots": shots, "draw": draw, "seed": 0}
        | dict.fromkeys(METRICS, value)
        for m, list_of in values.items()
        for draw, value in enumerate(list_of)
    ]
    return pd.DataFrame(rows)


def test_summary_is_the_mean_over_draws():
    table = results_of({"a": [0.6, 0.7, 0.8], "b": [0.5, 0.5, 0.5]})
    summary = summarise(table).set_index(["model", "metric"])
    row = summary.loc[("a", "accuracy")]
    # t quantile 4.303 with 2 degrees of freedom times 0.1 / sqrt(3)
    assert row["mean"] == pytest.approx(0.7)
    assert (row["low"], row["high"]) == pytest.approx((0.7 - 0.2484, 0.7 + 0.2484), abs=1e-4)
    assert (row["n"], row["unit"]) == (3, "draw")
    assert summary.loc[("b", "mcc"), "low"] == 0.5
    assert len(summary) == 2 * len(METRICS)


def test_comparison_of_models_is_paired_and_signed():
    table = results_of({"a": [0.6, 0.7, 0.8], "b": [0.5, 0.6, 0.7]})
    baseline = results_of({"gc": [0.4, 0.4, 0.4]}, "baseline")
    pairs = compare_models(pd.concat([table, baseline]), seed=0)
    assert len(pairs) == 1
    row = pairs.iloc[0]
    assert (row["a"], row["b"], row["shots"], row["n"]) == ("a", "b", 10, 3)
    assert row["difference"] == pytest.approx(0.1)
    assert row["p_holm"] == pytest.approx(0.25)  # 2 of 8 sign patterns
    assert compare_models(baseline, seed=0).empty
    assert {"shots", "a", "b", "p_holm"} <= set(compare_models(table[:3], seed=0).columns)


def test_best_model_is_above_or_not_above():
    def sentence(tuned, floor):
        parts = [results_of(tuned), results_of(floor, "baseline")]
        return describe_best(summarise(pd.concat(parts)))

    above = sentence({"a": [0.80, 0.81, 0.82], "b": [0.5, 0.5, 0.5]}, {"gc": [0.6], "k": [0.5]})
    assert above.startswith("accuracy. 10 shots: a 0.810 [0.785, 0.835], above the best baseline")
    assert "(gc, 0.600)" in above
    wide = sentence({"a": [0.6, 0.8, 1.0]}, {"gc": [0.6]})
    assert "a 0.800 [0.303, 1.297], not above the best baseline (gc, 0.600)" in wide
    assert "nan" not in sentence({"a": [0.9]}, {"gc": [0.6]})
    assert "one fit, no interval" in sentence({"a": [0.9]}, {"gc": [0.6]})
    alone = describe_best(summarise(results_of({"a": [0.9]})))
    assert alone == "accuracy. no fine-tuned model stands beside a baseline."


def test_main_table_shows_intervals_where_there_are_any():
    parts = [results_of({"a": [0.6, 0.7, 0.8]}), results_of({"a": [0.9]}, shots=50)]
    table = main_table(summarise(pd.concat(parts)).assign(dataset="d"))
    row = table.loc[("d", "fine-tuned", "a")]
    assert row[("accuracy", 10)] == "0.700 [0.452, 0.948]"
    assert row[("accuracy", 50)] == "0.900"
    assert set(table.columns.get_level_values("metric")) == {"accuracy", "auc"}
