"""Strategies on toy sets: what is trained, shared, found again, resumed and refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from genomelm_utils.datasets.activity_task import make_set
from genomelm_utils.tasks import transfer
from genomelm_utils.tasks.activity_benchmark import (
    compare_strategies,
    join_scores,
    run_baselines,
    run_grid,
    select_best,
    summarise,
)
from genomelm_utils.tasks.activity_grid import expand_block
from genomelm_utils.tasks.activity_scores import predict_rows
from genomelm_utils.tasks.multitask import MultiTask
from genomelm_utils.tasks.simple_regression import fit_lasso
from genomelm_utils.tasks.transfer import embed_set, freeze_as_released, run_plan, start_network
from genomelm_utils.tasks.transfer_plan import FitSettings, Plan, plan_key
from genomelm_utils.tasks.transfer_shared import fetch_training, share_training
from tests.datasets.activity_toys import toy_set

TINY = {"channels": [16, 16], "width": 16}
SETTINGS = FitSettings(lr=0.01, batch_size=16, epochs=2)


@pytest.fixture(scope="module")
def sets():
    return {
        "target": toy_set(60, name="target"),
        "other": toy_set(90, name="other", outputs=("c",), seed=1, length=32),
        "bins": toy_set(
            60, name="bins", kind="binned", outputs=("d",), classes=tuple("012"), seed=2
        ),
    }


def plan(strategy: str, others=(), **changes) -> Plan:
    given = {"backbone": "ResNetMini", "target": "target", "settings": SETTINGS, "options": TINY}
    return Plan(strategy, others=tuple(others), pretrain_settings=SETTINGS, **given | changes)


def test_every_strategy_and_reuse(sets, tmp_path):
    plans = [
        plan("single"),
        plan("joint", ["other", "bins"]),
        plan("probing", ["other", "bins"]),
        plan("finetune", ["bins", "other"]),
        plan("simple", ["other", "bins"]),
    ]
    outcomes = [run_plan(one, sets, tmp_path, resumable=False) for one in plans]
    for outcome in outcomes:
        assert outcome.predicted["test"].shape == (12, 2)
        assert np.isfinite(outcome.predicted["test"]).all()
        assert not outcome.reused
    # one pretraining for probing, fine-tuning and Lasso, however its tasks are ordered
    assert len(list(tmp_path.glob("pretrain-*"))) == 1
    again = [run_plan(one, sets, tmp_path, resumable=False) for one in plans]
    for old, new in zip(outcomes, again, strict=True):
        assert new.reused
        np.testing.assert_array_equal(old.predicted["test"], new.predicted["test"])
        np.testing.assert_array_equal(old.labels["test"], new.labels["test"])


def test_another_run_takes_over_what_is_finished(sets, tmp_path):
    shared, probe = tmp_path / "shared", plan("probing", ["other"])
    first = run_plan(probe, sets, tmp_path / "a", resumable=False, shared=shared)
    assert {path.name.split("-")[0] for path in shared.iterdir()} == {"probing", "pretrain"}
    second = run_plan(probe, sets, tmp_path / "b", resumable=False, shared=shared)
    assert (first.reused, second.reused) == (False, True)
    assert second.folder.parent == tmp_path / "b"
    for part in ("valid", "test"):
        np.testing.assert_array_equal(first.predicted[part], second.predicted[part])
    ours, theirs = (
        {path.name: path.read_bytes() for path in sorted(one.folder.rglob("*")) if path.is_file()}
        for one in (first, second)
    )
    assert ours == theirs, "the whole of it, so that receipts name the same files"
    # a cell with another head starts from the shared pretraining
    tuned = run_plan(plan("finetune", ["other"]), sets, tmp_path / "c", shared=shared)
    assert not tuned.reused
    kept = json.loads(next((tmp_path / "c").glob("pretrain-*/result.json")).read_text())
    assert kept == json.loads(next((tmp_path / "a").glob("pretrain-*/result.json")).read_text())


def test_only_whole_trainings_of_the_same_key_are_taken_over(sets, tmp_path):
    shared, single = tmp_path / "shared", plan("single")
    first = run_plan(single, sets, tmp_path / "a", resumable=False, shared=shared)
    place = tmp_path / "b" / first.folder.name
    assert not fetch_training("another key", place, shared)
    assert not place.exists()
    # a second writer that was slower leaves what is there
    assert not share_training(first.key, first.folder, shared)
    (shared / first.folder.name / "result.json").unlink()
    assert not fetch_training(first.key, place, shared)
    assert not run_plan(single, sets, tmp_path / "b", resumable=False).reused
    with pytest.raises(OSError):
        share_training(first.key, first.folder, shared)  # half a training is in the way
    assert [path.name for path in shared.iterdir()] == [first.folder.name]


def test_the_key_holds_the_whole_configuration(sets):
    """In the released code learning rate, epochs and batch size are not in a run's name."""
    base = plan("finetune", ["other"])
    keys = {plan_key(base, sets)}
    changed = [
        replace(base, settings=replace(SETTINGS, lr=0.02)),
        replace(base, settings=replace(SETTINGS, epochs=3)),
        replace(base, pretrain_settings=replace(SETTINGS, epochs=3)),
        replace(base, pretrain_settings=replace(SETTINGS, batch_size=8)),
        replace(base, seed=1),
        replace(base, options={**TINY, "width": 8}),
        replace(base, strategy="probing"),
    ]
    keys |= {plan_key(one, sets) for one in changed}
    other_rows = {**sets, "other": toy_set(90, name="other", outputs=("c",), seed=3, length=32)}
    keys.add(plan_key(base, other_rows))
    assert len(keys) == len(changed) + 2
    two, turned = plan("joint", ["other", "bins"]), plan("joint", ["bins", "other"])
    assert plan_key(two, sets) == plan_key(turned, sets)
    assert replace(base, seed=1).pretraining == base.pretraining


def test_same_plan_same_numbers(sets, tmp_path):
    one = run_plan(plan("joint", ["other", "bins"]), sets, tmp_path / "a", resumable=False)
    two = run_plan(plan("joint", ["bins", "other"]), sets, tmp_path / "b", resumable=False)
    np.testing.assert_array_equal(one.predicted["test"], two.predicted["test"])


def test_probing_trains_the_head_alone_and_keeps_embeddings(sets, tmp_path):
    run = plan("probing", ["other"])
    outcome = run_plan(run, sets, tmp_path, resumable=False)
    before = start_network(run, sets, next(tmp_path.glob("pretrain-*")) / "model")
    after = start_network(run, sets, outcome.folder / "model")
    for name, value in before.backbone.state_dict().items():
        assert torch.equal(value, after.backbone.state_dict()[name]), name
    assert len(list((tmp_path / "embeddings").glob("*.npy"))) == 1
    # the embeddings that were kept are those of the network in use
    found = embed_set(after, sets["target"], tmp_path / "embeddings")
    fresh = embed_set(after, sets["target"], None, batch_size=7)
    np.testing.assert_allclose(found, fresh, atol=1e-5)
    assert len(list((tmp_path / "embeddings").glob("*.npy"))) == 1


def test_reference_probing_leaves_other_backbones_trainable(sets):
    task = MultiTask(start_network(plan("single"), sets), [sets["target"].spec])
    freeze_as_released("ResNetMini", task)
    assert all(p.requires_grad for p in task.parameters())
    small = {"channels": [16, 16, 16], "n_layers": 1, "n_heads": 2}
    mtlucifer = plan("single", backbone="MTLuciferMini", options=small)
    task = MultiTask(start_network(mtlucifer, sets), [sets["target"].spec])
    freeze_as_released("MTLuciferMini", task)
    free = {name for name, p in task.named_parameters() if p.requires_grad}
    assert free == {"model.backbone.cls", "model.heads.target.weight", "model.heads.target.bias"}


def test_reference_probing_changes_the_backbone(sets, tmp_path):
    run = plan("probing", ["other"], probing="reference")
    outcome = run_plan(run, sets, tmp_path, resumable=False)
    before = start_network(run, sets, next(tmp_path.glob("pretrain-*")) / "model")
    after = start_network(run, sets, outcome.folder / "model")
    states = before.backbone.state_dict(), after.backbone.state_dict()
    assert any(not torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_an_interrupted_training_ends_as_one_that_was_not(sets, tmp_path, monkeypatch):
    one = plan("single", settings=replace(SETTINGS, epochs=4))
    whole = run_plan(one, sets, tmp_path / "whole")
    evaluate, calls = transfer.ActivityValidation.__call__, []

    def killed(self, task):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return evaluate(self, task)

    monkeypatch.setattr(transfer.ActivityValidation, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        run_plan(one, sets, tmp_path / "cut")
    monkeypatch.setattr(transfer.ActivityValidation, "__call__", evaluate)
    (place,) = (tmp_path / "cut").glob("single-*")
    assert not (place / "result.json").exists()
    resumed = run_plan(one, sets, tmp_path / "cut")
    np.testing.assert_array_equal(resumed.predicted["test"], whole.predicted["test"])


def test_predictions_do_not_depend_on_the_batch():
    data = toy_set(20, length=30)
    longer = make_set(
        data.spec, [one[: 20 + i % 10] for i, one in enumerate(data.codes)], data.labels_ST,
        part_S=data.part_S,
    )  # fmt: skip
    sets = {"toy": longer}
    task = MultiTask(start_network(plan("single", target="toy"), sets), [longer.spec])
    rows = np.arange(20)
    alone = predict_rows(task, longer.spec, longer.codes, rows, batch_size=1)
    together = predict_rows(task, longer.spec, longer.codes, rows, batch_size=20)
    np.testing.assert_allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize(
    ("strategy", "others", "changes", "told"),
    [
        ("tune", (), {}, "expected one of single"),
        ("finetune", (), {}, "needs other tasks"),
        ("single", ("other",), {}, "target alone"),
        ("joint", ("target",), {}, "both the target"),
        ("pretrain", ("other",), {}, "only 'pretrain' has none"),
        ("probing", ("other",), {"probing": "released"}, "expected corrected or reference|probing"),
    ],
)
def test_plans_that_contradict_themselves(strategy, others, changes, told):
    with pytest.raises(ValueError, match=told):
        plan(strategy, others, **changes)


def test_bad_input_of_a_run(sets, tmp_path):
    with pytest.raises(ValueError, match="no set 'nothing'"):
        run_plan(plan("joint", ["nothing"]), sets, tmp_path)
    other = replace(SETTINGS, monitor="target_mean_auc")
    with pytest.raises(ValueError, match="monitor is 'target_mean_auc', expected one of"):
        run_plan(plan("single", settings=other), sets, tmp_path, resumable=False)
    fixed = plan("joint", ["other"], backbone="MPRAnn", options={"length_bp": 40})
    with pytest.raises(ValueError, match="MPRAnn"):
        run_plan(fixed, sets, tmp_path, resumable=False)


def test_lasso_finds_the_feature_that_counts():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((80, 10))
    labels = (3 * features[:, [2]] + 0.1 * rng.standard_normal((80, 1))).astype(np.float32)
    found = fit_lasso(features, labels, np.arange(60), np.arange(60, 80))
    assert np.corrcoef(found.predict(features)[:, 0], labels[:, 0])[0, 1] > 0.99
    weights = found.models[0][-1].coef_
    assert np.argmax(np.abs(weights)) == 2
    assert found.choice["alpha"].tolist()[0] < 1
    with pytest.raises(ValueError, match="no label"):
        fit_lasso(features, np.full((80, 1), np.nan), np.arange(60), np.arange(60, 80))


def test_a_grid_beside_its_baselines(sets, tmp_path):
    cells = expand_block(
        target="target", backbones=["ResNetMini"], strategies=["single", "probing"], seeds=2,
        pretrain_sets=["other"], settings=SETTINGS, pretrain_settings=SETTINGS,
        options={"ResNetMini": TINY}, split="multiple",
    )  # fmt: skip
    trained = run_grid(cells, sets, tmp_path, resumable=False)
    floor = run_baselines(sets, "target", [0, 1], "multiple")
    scores = join_scores(trained, floor)
    summary = summarise(scores)
    assert summary["method"].nunique() == 5
    row = summary.set_index(["method", "output", "metric"]).loc[("gc", "mean", "spearman")]
    assert row["mean"] > 0.99  # the toy's label is the share of GC
    assert row["n"] == 2
    paired = compare_strategies(scores, "spearman")
    assert len(paired) == 10
    best = select_best(trained)
    assert set(best["method"]) == {"ResNetMini single", "ResNetMini probing (other)"}
    told = json.loads((next(tmp_path.glob("single-*")) / "result.json").read_text())
    assert told["plan"]["settings"]["lr"] == 0.01
