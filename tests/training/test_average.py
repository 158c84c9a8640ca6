"""Moving average of the weights: the formula, what is judged and saved, exact resume."""

import pytest
import torch
from toy import SETTINGS, ToyBatches, ToyTask, evaluate

from genomelm_utils.training import checkpoint as ckpt
from genomelm_utils.training.average import AveragedWeights
from genomelm_utils.training.loop import fit

DECAY = 0.3  # above (1 + t) / (10 + t) for t = 1, 2 only, so both regimes occur


def weights_of(task):
    return torch.cat([p.detach().flatten() for p in task.parameters()]).clone()


def train(task, folder=None, batches=None, **changes):
    settings = {**SETTINGS, "log_every": 1, "progress": False, **changes}
    return fit(task, batches or ToyBatches(), folder=folder, **settings)


def trajectory(**changes):
    """What evaluation sees after every update, and what the task holds in the end."""
    seen, task = [], ToyTask()

    def look(task):
        seen.append(weights_of(task))
        return {"loss": 0.0}

    train(task, evaluate=look, eval_every=1, **changes)
    return seen, weights_of(task)


def test_average_of_the_very_weights_that_training_goes_through():
    raw, last = trajectory()
    averaged, final = trajectory(ema_decay=DECAY)
    assert torch.equal(raw[-1], last)
    expected = raw[0].double()
    for t, (weights, found) in enumerate(zip(raw[1:], averaged[1:], strict=True), start=1):
        decay = min(DECAY, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * weights.double()
        assert torch.allclose(found.double(), expected, atol=1e-6), t
    assert torch.equal(final, averaged[-1])
    assert not torch.allclose(final, last, atol=1e-4)


@pytest.mark.parametrize("stop", [3, 7])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, stop):
    class Interrupted(Exception):
        pass

    def batches(step, micro):
        if step >= stop:
            raise Interrupted
        return ToyBatches()(step, micro)

    settings = {"ema_decay": DECAY, "save_every": 2, "evaluate": evaluate, "eval_every": 2}
    whole, parts = ToyTask(), ToyTask()
    history = train(whole, tmp_path / "whole", **settings).history
    with pytest.raises(Interrupted):
        train(parts, tmp_path / "parts", batches, **settings)
    again = ToyTask(seed=5)
    resumed = train(again, tmp_path / "parts", resume=True, **settings)
    assert torch.equal(weights_of(whole), weights_of(again))
    assert history["valid_loss"].equals(resumed.history["valid_loss"])


def test_checkpoints_hold_the_average_and_a_finished_training_is_only_read(tmp_path):
    task, again, loaded = ToyTask(), ToyTask(seed=5), ToyTask(seed=6)
    result = train(task, tmp_path, ema_decay=DECAY)
    ckpt.load_weights(result.checkpoint, loaded, ckpt.read_state(result.checkpoint))
    train(again, tmp_path, ema_decay=DECAY, resume=True)
    assert torch.equal(weights_of(task), weights_of(loaded))
    assert torch.equal(weights_of(task), weights_of(again))


def test_another_decay_is_another_training(tmp_path):
    train(ToyTask(), tmp_path, ema_decay=DECAY)
    with pytest.raises(ValueError, match=r"ema_decay: saved 0.3, now 'nothing'"):
        train(ToyTask(), tmp_path, resume=True)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_outside_its_range(decay):
    with pytest.raises(ValueError, match=r"ema_decay is .*expected 0 \(off\) or a number in"):
        AveragedWeights(ToyTask().parameters(), decay)


def test_frozen_parameters_are_left_alone():
    task = ToyTask()
    task.scale.requires_grad_(False)
    averaged = AveragedWeights(task.parameters(), 0.9)
    assert all(p is not task.scale for p in averaged.parameters)
