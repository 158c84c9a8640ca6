"""Species training: phases, best checkpoints, resuming, several processes, released defects."""

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from species_toy import Toy, make_toy, weights_of

from genomelm_utils.datasets.species_pairs import PairSampler
from genomelm_utils.models.alibi_bert import AlibiBertModel
from genomelm_utils.pipeline.profile import load_profile
from genomelm_utils.tasks import species_training
from genomelm_utils.tasks.contrastive import NO_SPECIES, ContrastiveTask, read_con_weights
from genomelm_utils.tasks.species_pretraining import make_phases
from genomelm_utils.tasks.species_training import Phase, count_kept_steps, curriculum
from genomelm_utils.tasks.species_validation import (
    embed_ids,
    freeze_pairs,
    retrieval_accuracy,
)
from genomelm_utils.tokenizers.bpe import load_bpe
from genomelm_utils.training import checkpoint as ckpt

SCRIPT = Path(__file__).with_name("run_species.py")
TIMES = ["tokens_per_s", "data_s", "compute_s", "optim_s", "other_s", "eval_s", "wall_s"]


@pytest.fixture(scope="module")
def toy_dir(tmp_path_factory):
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def toy(toy_dir):
    return Toy(toy_dir)


class Interrupted(Exception):
    pass


class StopAt:
    """Pairs that fail when a step is asked for."""

    def __init__(self, inner, step: int) -> None:
        self.inner, self.step = inner, step

    def pairs(self, step: int, start: int, stop: int):
        if step >= self.step:
            raise Interrupted
        return self.inner.pairs(step, start, stop)


# ---- the whole


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return toy.train(toy.model(dropout=0.1), folder), folder


def test_result_is_loaded_from_its_folder(trained):
    result, folder = trained
    assert result.final == folder / "final"
    loaded = AlibiBertModel.from_pretrained(result.final)
    assert torch.equal(weights_of(loaded), weights_of(result.model))
    assert not result.model.training
    assert load_bpe(result.final).get_vocab()
    assert set(read_con_weights(result.final)) == {"0.weight", "2.weight"}
    assert all(p.requires_grad for p in result.model.parameters())


def test_every_phase_ends_at_its_best_validation(trained):
    result, folder = trained
    phases, history = result.phases, result.history
    assert phases["objective"].tolist() == ["weighted_simclr", "mix"]
    assert phases["first_step"].tolist() == [0, 2]
    for row in phases.itertuples():
        own = history[history["phase"] == row.phase].set_index("step")
        assert row.best_loss == own["valid_loss"].drop(index=0).min()
        assert row.best_step == own["valid_loss"].drop(index=0).idxmin()
        assert row.best_accuracy == own["valid_accuracy"][row.best_step]
        kept = ckpt.checkpoints_dir(folder / f"phase-{row.phase}-{row.objective}")
        assert (kept / row.checkpoint / "con_weights.safetensors").is_file()
    # the second phase starts where the first was best, the model is that of the second's best
    assert phases["start_loss"][1] == pytest.approx(phases["best_loss"][0], abs=1e-6)
    best = AlibiBertModel.from_pretrained(kept / phases["checkpoint"].iloc[-1])
    assert torch.equal(weights_of(best), weights_of(result.model))
    assert history["total_step"].max() == 6


def test_a_later_worse_validation_is_not_the_result(toy, tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, 1.0, 1.5, 2.5])
    monkeypatch.setattr(
        species_training, "validate_pairs", lambda *_: {"loss": next(losses), "accuracy": 0.5}
    )
    phases = [Phase("simclr", 4)]
    result = toy.train(toy.model(), tmp_path, phases=phases, eval_every=1, peak_lr=0.01)
    row = result.phases.iloc[0]
    assert (row["best_step"], row["best_loss"], row["start_loss"]) == (2, 1.0, 3.0)
    found = ckpt.list_checkpoints(tmp_path / "phase-1-simclr")
    best, last = (weights_of(AlibiBertModel.from_pretrained(found[step])) for step in (2, 4))
    assert torch.equal(weights_of(result.model), best)
    assert torch.equal(weights_of(AlibiBertModel.from_pretrained(result.final)), best)
    assert not torch.equal(best, last)


def test_training_learns_to_tell_species_apart(toy, tmp_path):
    """Better than the random network it started from, at pairs it was not trained on."""
    settings = {"batch_pairs": 16, "head_dim": 0, "peak_lr": 5e-3, "eval_every": 20}
    valid = PairSampler(toy.genomes, "train", lengths_bp=(200,), seed=2)
    phases = [Phase("weighted_simclr", 60)]
    result = toy.train(
        toy.model(), tmp_path, valid=valid, phases=phases, n_valid_pairs=96, **settings
    )
    row = result.phases.iloc[0]
    assert row["best_loss"] < row["start_loss"]
    assert row["best_accuracy"] > row["start_accuracy"] + 0.05


def test_without_a_finite_validation_the_last_weights_stay(toy, tmp_path, monkeypatch, caplog):
    def fail(*_) -> dict[str, float]:
        return {"loss": float("nan"), "accuracy": 0.25}

    monkeypatch.setattr(species_training, "validate_pairs", fail)
    result = toy.train(toy.model(), tmp_path, eval_every=1)
    assert "no validation was finite: the last weights are kept" in caplog.text
    phases = result.phases
    assert phases["best_step"].isna().all()
    assert phases[["start_loss", "best_loss", "best_accuracy"]].isna().all(axis=None)
    assert phases["start_accuracy"].tolist() == [0.25, 0.25]
    assert phases["steps_made"].tolist() == [2, 4]
    assert phases["checkpoint"].tolist() == ["step-00000002", "step-00000004"]
    kept = ckpt.checkpoints_dir(tmp_path / "phase-2-mix") / "step-00000004"
    last = AlibiBertModel.from_pretrained(kept)
    assert torch.equal(weights_of(last), weights_of(result.model))
    assert torch.equal(weights_of(last), weights_of(AlibiBertModel.from_pretrained(result.final)))
    assert not torch.equal(weights_of(last), weights_of(toy.model()))
    pd.testing.assert_frame_equal(toy.train(toy.model(), tmp_path, eval_every=1).phases, phases)


# ---- resuming


@pytest.mark.parametrize("stop", [1, 5])
def test_interrupted_in_either_phase_and_resumed_equals_uninterrupted(trained, toy, tmp_path, stop):
    expected, _ = trained
    with pytest.raises(Interrupted):
        toy.train(toy.model(dropout=0.1), tmp_path, StopAt(toy.sampler(), stop), save_every=1)
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert folders[-1] == ("phase-1-weighted_simclr" if stop == 1 else "phase-2-mix")
    resumed = toy.train(toy.model(dropout=0.1), tmp_path, save_every=1)
    assert torch.equal(weights_of(resumed.model), weights_of(expected.model))
    columns = [*TIMES, "total_step"]
    pd.testing.assert_frame_equal(
        resumed.history.drop(columns=columns), expected.history.drop(columns=columns)
    )


def test_finished_training_is_only_read(trained, toy):
    result, folder = trained
    again = toy.train(toy.model(dropout=0.1), folder, StopAt(toy.sampler(), 3))
    assert torch.equal(weights_of(again.model), weights_of(result.model))
    pd.testing.assert_frame_equal(again.phases, result.phases)


def test_other_settings_and_other_weights_are_refused(trained, toy):
    _, folder = trained
    with pytest.raises(ValueError, match=r"temperature: saved 0\.05, now 0\.1"):
        toy.train(toy.model(dropout=0.1), folder, temperature=0.1)
    with pytest.raises(ValueError, match="start_weights: saved"):
        toy.train(toy.model(dropout=0.1, seed=9), folder)


def test_a_model_without_pooler_can_be_trained(toy, tmp_path):
    model = AlibiBertModel(toy.model().config, add_pooling_layer=False)
    result = toy.train(model, tmp_path, phases=[Phase("simclr", 2)])
    assert result.phases["best_step"].tolist() == [2]


# ---- the released training


def test_released_return_to_the_last_save(toy, tmp_path):
    """Defect B10: of 41,667 steps 40,001 survive; of a short phase only one."""
    assert count_kept_steps(41_667, 10_000) == 40_001
    assert count_kept_steps(500, 10_000) == 1
    assert count_kept_steps(10_001, 10_000) == 10_001
    result = toy.train(toy.model(), tmp_path, phase_start="last_save", save_every=2)
    assert result.phases["steps_made"].tolist() == [1, 4]
    assert result.phases["first_step"].tolist() == [0, 2]


def count_released(epochs, per_epoch, save_every, n_saves, has_curriculum):
    """The released loop, counted: (updates of each phase in its newest weights, saves).

    Written from its order of events: update, save where the counter is a multiple, stop the epoch
    where it is beyond the last save, count on; the second epoch of three begins from the last save.
    """
    counter, kept, saved, saves = 0, [0, 0], [0, 0], []
    for epoch in range(epochs):
        if has_curriculum and epoch == epochs // 3:
            kept = list(saved)
        for _ in range(per_epoch):
            kept[int(has_curriculum and epoch >= epochs // 3)] += 1
            if counter % save_every == 0:
                saved = list(kept)
                saves.append(counter)
            if counter > save_every * n_saves:
                break
            counter += 1
    return saved, saves


def test_released_schedule_is_that_of_the_paper_profile():
    """Golden fact 17: steps of an epoch, of three, the 12 saves, validation batches of 360."""
    for run, values in load_profile("paper").runs["09_species_pretraining"].items():
        per_epoch = math.ceil(2_000_000 / values["batch_pairs"])
        assert (per_epoch, 3 * per_epoch) == (41_667, 125_001), run
        steps, save_every = values["steps"], values["save_every"]
        n_saves = 3 * per_epoch // save_every
        assert (n_saves, steps // save_every) == (12, 12), run
        assert count_kept_steps(per_epoch, save_every) == 40_001, run
        assert math.ceil(values["valid_pairs"] / 360) == 134, run
        if not run.startswith("reference"):
            continue
        is_curriculum = values["objective"] == "curriculum"
        expected, saves = count_released(3, per_epoch, save_every, n_saves, is_curriculum)
        phases = make_phases(values["objective"], steps, first_steps=values["first_steps"])
        kept = [phase.steps for phase in phases]
        if values["phase_start"] == "last_save":
            kept[:-1] = [count_kept_steps(n, save_every) for n in kept[:-1]]
        assert kept == [n for n in expected if n], run
        assert saves == list(range(0, 120_001, 10_000))
        assert sum(kept) == (40_001 + 78_334 if is_curriculum else 120_001)


MIXED = {"phases": [Phase("mix", 2, 0)], "chunk_pairs": 4}
#: (settings that both trainings share, the one switch that the second turns)
SWITCHES = [
    ({}, {"precision": "fp16"}),
    ({}, {"precision": "bf16"}),
    ({}, {"method": "dropout"}),
    ({}, {"same_species_negatives": True}),
    ({}, {"layer_lr_factor": 0.1}),
    ({}, {"head_lr_factor": 1.0}),
    ({}, {"strands": "forward"}),
    ({"strands": "forward"}, {"strands": "random"}),
    ({"method": "mutate"}, {"reference_views": True}),
    ({"method": "double_strand", "strands": "forward"}, {"reference_views": True}),
    (MIXED, {"soft_labels": "reference"}),
    (MIXED, {"partner_index": "replica"}),
    (MIXED, {"mix_alpha": 0.2}),
    ({"phases": curriculum(6), "save_every": 2}, {"phase_start": "last_save"}),
]


@pytest.mark.parametrize(("shared", "switch"), SWITCHES)
def test_a_switch_alone_changes_the_training(toy, tmp_path, shared, switch):
    """Nothing else differs, and the same settings give the same weights to the bit."""
    base = {"phases": [Phase("simclr", 2)], "eval_every": 0, **shared}
    found = {}
    for name, settings in {"base": base, "again": base, "turned": {**base, **switch}}.items():
        # dropout is all that the views of the method "dropout" differ in
        trained = toy.train(toy.model(dropout=0.1), tmp_path / name, **settings)
        assert np.isfinite(trained.history["train_loss"].dropna()).all()
        found[name] = weights_of(trained.model)
    assert torch.equal(found["again"], found["base"])
    assert not torch.equal(found["turned"], found["base"])


def test_monitoring_accuracy_takes_the_step_of_the_best_accuracy(toy, tmp_path):
    phases = [Phase("simclr", 6)]
    result = toy.train(toy.model(), tmp_path, phases=phases, monitor="accuracy", eval_every=1)
    found = result.history.set_index("step")["valid_accuracy"].drop(index=0)
    assert result.phases["best_step"].tolist() == [found.idxmax()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"monitor": "ari"}, "monitor is 'ari', expected one of: loss, accuracy"),
        ({"phase_start": "last"}, "phase_start is 'last'"),
        ({"warmup_share": 1.0}, "warmup_share is 1.0"),
        ({"method": "same"}, "unknown method 'same'"),
        ({"n_valid_pairs": 1}, "found 1 validation pairs"),
    ],
)
def test_wrong_settings(toy, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        toy.train(toy.model(), tmp_path, **changes)


def test_curriculum_is_a_third_and_the_rest():
    assert curriculum(10, first_steps=7) == (Phase("weighted_simclr", 7), Phase("mix", 3))
    assert curriculum(2, first_steps=1) == (Phase("weighted_simclr", 1), Phase("mix", 1))
    for first in (10, 11, -1):
        with pytest.raises(ValueError, match=f"first_steps is {first}, expected 1 to 9"):
            curriculum(10, first_steps=first)
    assert curriculum(10, mix_layer=0) == (Phase("weighted_simclr", 3), Phase("mix", 7, 0))
    with pytest.raises(ValueError, match="curriculum of 2 steps"):
        curriculum(2)
    with pytest.raises(ValueError, match="phase 'imix' of 3 steps"):
        Phase("imix", 3)


# ---- validation


def test_retrieval_by_hand():
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    second = torch.tensor([[2.0, 0.1], [1.0, 0.0], [0.1, 3.0]])
    # nearest second windows: 1, 2, 0
    assert retrieval_accuracy(first, second, torch.tensor([0, 0, 1])) == pytest.approx(1 / 3)
    assert retrieval_accuracy(first, second, torch.tensor([0, 1, 1])) == pytest.approx(1 / 3)
    unknown = torch.full((3,), NO_SPECIES)
    assert retrieval_accuracy(first, second, unknown) == 0
    assert retrieval_accuracy(first, first, unknown) == 1


def test_embeddings_come_in_the_given_order(toy):
    frozen = freeze_pairs(toy.sampler("valid"), toy.tokenizer, 12)
    task = ContrastiveTask(toy.model()).eval()
    with torch.no_grad():
        together = embed_ids(task, frozen.first, frozen.pad_id, rows=5)
        alone = torch.cat([embed_ids(task, [ids], frozen.pad_id) for ids in frozen.first])
    assert torch.allclose(together, alone, atol=1e-5)


def test_validation_does_not_depend_on_the_training_method(toy):
    frozen = freeze_pairs(toy.sampler("valid"), toy.tokenizer, 12)
    found = toy.sampler("valid").pairs(0, 0, 12)
    assert len(frozen) == 12
    assert np.array_equal(frozen.species, found.species)


# ---- several processes


def test_mixing_in_several_processes_needs_chunks(toy, tmp_path, monkeypatch):
    """Refused before the first phase, which does not mix, is trained."""
    several = SimpleNamespace(num_processes=2)
    monkeypatch.setattr(species_training, "open_accelerator", lambda: several)
    with pytest.raises(ValueError, match=r"chunk_pairs is 0 for mixtures in 2 processes.*take 4"):
        toy.train(toy.model(), tmp_path)
    assert not list(tmp_path.iterdir())


CASES = ("2:weighted_simclr,mix", "4:weighted_simclr,mix", "0:weighted_simclr,simclr")


def run_script(toy_dir: Path, folder: Path, processes: int) -> dict[str, list[float]]:
    """Case -> losses of its training in one or several processes."""
    launcher = [sys.executable]
    if processes > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        launcher += ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
        launcher += ["--master_addr=127.0.0.1", f"--master_port={port}"]
    for case in CASES:
        (folder / case).mkdir(parents=True)
    done = subprocess.run(
        [*launcher, str(SCRIPT), str(toy_dir), str(folder), *CASES],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.strip().splitlines()[-1])
    assert report["world_size"] == processes
    return report["losses"]


@pytest.mark.slow
def test_two_processes_equal_one(toy_dir, tmp_path):
    """Both phases, mixing and negatives across processes: equal losses, equal weights."""
    one = run_script(toy_dir, tmp_path / "one", 1)
    two = run_script(toy_dir, tmp_path / "two", 2)
    for case in CASES:
        assert len(one[case]) == 6
        assert two[case] == pytest.approx(one[case], rel=1e-4), case
        weights = [torch.load(tmp_path / name / case / "weights.pt") for name in ("one", "two")]
        np.testing.assert_allclose(*weights, atol=1e-4)
