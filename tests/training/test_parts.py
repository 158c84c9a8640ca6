"""Schedules, optimiser groups, precision, clock, prefetch, shares of processes."""

import math
import threading
import time

import pytest
import torch
from toy import ToyTask

from genomelm_utils.training.device import PhaseClock, autocast, choose_precision, matmul_precision
from genomelm_utils.training.distributed import own_micro_batches
from genomelm_utils.training.optim import (
    build_adamw,
    build_optimizer,
    cosine_warmup_decay,
    get_schedule,
    linear_warmup_decay,
    set_lr,
    split_decay,
    warmup_constant,
)
from genomelm_utils.training.prefetch import Prefetcher, split_counts


def test_linear_schedule_by_hand():
    factors = [linear_warmup_decay(step, 4, 12) for step in (0, 1, 4, 8, 11, 12, 13)]
    assert factors == [0.0, 0.25, 1.0, 0.5, 0.125, 0.0, 0.0]
    assert linear_warmup_decay(0, 0, 10) == 1.0


def test_cosine_schedule_by_hand():
    factors = [cosine_warmup_decay(step, 4, 12) for step in (0, 1, 4, 6, 8, 10, 12, 13)]
    half = math.sqrt(0.5)  # the cosine of an eighth of a turn
    assert factors == pytest.approx([0.0, 0.25, 1.0, (1 + half) / 2, 0.5, (1 - half) / 2, 0.0, 0.0])
    assert cosine_warmup_decay(0, 0, 10) == 1.0
    assert get_schedule("cosine") is cosine_warmup_decay


@pytest.mark.parametrize("name", ["linear", "cosine", "cosine_restarts"])
def test_schedule_is_that_of_transformers(name):
    from transformers import get_cosine_with_hard_restarts_schedule_with_warmup, get_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    if name == "cosine_restarts":
        scheduler = get_cosine_with_hard_restarts_schedule_with_warmup(optimizer, 5, 20, 4)
    else:
        scheduler = get_scheduler(name, optimizer, num_warmup_steps=5, num_training_steps=20)
    factor = get_schedule(name)
    for step in range(20):
        assert scheduler.get_last_lr()[0] == pytest.approx(factor(step, 5, 20))
        optimizer.step()
        scheduler.step()


def test_constant_schedule():
    assert [warmup_constant(step, 2, 9) for step in (0, 1, 2, 8)] == [0, 0.5, 1, 1]
    assert warmup_constant(0, 0, 9) == 1
    assert get_schedule("constant") is warmup_constant


def test_plateau_schedule():
    """Golden fact 10 of CornBERT: w = 200, c = 2000, N = 10000."""
    for factor in (get_schedule("plateau"), get_schedule("plateau", 2000)):
        found = [factor(step, 200, 10_000) for step in (0, 100, 200, 5000, 8000, 9000, 10_000)]
        assert found == [0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0]
    short = get_schedule("plateau", 4)
    assert [short(step, 2, 8) for step in (1, 2, 4, 5, 6, 7, 8, 9)] == [
        *(0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0)
    ]
    assert [short(step, 6, 8) for step in (3, 5, 6, 7)] == [0.5, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    ("shots", "batch", "epochs", "steps", "warmup"),
    [
        (10, 5, 20, 80, 8),
        (50, 5, 20, 400, 40),
        (100, 5, 20, 800, 80),
        (500, 15, 5, 335, 33),
        (1000, 15, 5, 670, 67),
    ],
)
def test_few_shot_steps_of_the_paper(shots, batch, epochs, steps, warmup):
    """Golden fact 19: updates of two balanced classes, and a tenth of them as warm-up."""
    assert -(-2 * shots // batch) * epochs == steps
    assert int(0.1 * steps) == warmup
    assert linear_warmup_decay(warmup, warmup, steps) == 1.0


def test_no_decay_on_biases_and_layer_norm():
    task = ToyTask()
    decayed, exempt = split_decay(task)
    names = {id(p): name for name, p in task.named_parameters()}
    assert len(decayed) + len(exempt) == len(names)
    for parameter in exempt:
        name = names[id(parameter)]
        assert name.endswith("bias") or "LayerNorm" in name
    assert not any("bias" in names[id(p)] or "LayerNorm" in names[id(p)] for p in decayed)


def test_frozen_parameters_are_left_out_and_nothing_to_train_is_an_error():
    task = ToyTask()
    for parameter in task.model.parameters():
        parameter.requires_grad = False
    adamw = build_adamw(task, weight_decay=0.01, betas=(0.9, 0.98), eps=1e-6)
    assert sum(len(group["params"]) for group in adamw.param_groups) == 1
    task.scale.requires_grad = False
    with pytest.raises(ValueError, match="no trainable parameter"):
        build_adamw(task, weight_decay=0.01, betas=(0.9, 0.98), eps=1e-6)


def test_learning_rates_by_prefix_the_longest_counts():
    task = ToyTask()
    scales = {"scale": 100.0, "model.bert.": 0.5, "model.bert.embeddings.": 0.1}
    settings = {"weight_decay": 0.01, "betas": (0.9, 0.98), "eps": 1e-6}
    adamw = build_adamw(task, **settings, lr_scales=scales)
    set_lr(adamw, lambda delay: 2.0)
    rates = {id(p): group["lr"] for group in adamw.param_groups for p in group["params"]}
    decays = {id(p): g["weight_decay"] for g in adamw.param_groups for p in g["params"]}
    for name, parameter in task.named_parameters():
        factor = 100.0 if name == "scale" else 0.5 if name.startswith("model.bert.") else 1.0
        factor = 0.1 if name.startswith("model.bert.embeddings.") else factor
        assert rates[id(parameter)] == pytest.approx(2.0 * factor), name
        exempt = name.endswith("bias") or "LayerNorm" in name
        assert decays[id(parameter)] == (0.0 if exempt else 0.01)
    with pytest.raises(ValueError, match=r"lr_scales names 'hat\.', expected the start of a"):
        build_adamw(task, **settings, lr_scales={"hat.": 2.0})


@pytest.mark.parametrize("name", ["adamw", "adam_amsgrad", "lamb"])
def test_groups_that_start_later(name):
    task = ToyTask()
    settings = {"weight_decay": 0.01, "betas": (0.9, 0.98), "eps": 1e-6}
    late = {"model.bert.": 3, "model.bert.embeddings.": 5}
    optimizer = build_optimizer(
        name, task, **settings, lr_scales={"model.bert.": 0.5}, lr_delays=late
    )
    set_lr(optimizer, lambda delay: {0: 1.0, 3: 0.2, 5: 0.0}[delay])
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    for key, parameter in task.named_parameters():
        rate = 0.1 if key.startswith("model.bert.") else 1.0
        rate = 0.0 if key.startswith("model.bert.embeddings.") else rate
        assert rates[id(parameter)] == pytest.approx(rate), key
        exempt = key.endswith("bias") or "LayerNorm" in key
        assert decays[id(parameter)] == (0.0 if exempt else 0.01)
    with pytest.raises(ValueError, match=r"lr_delays names 'hat\.', expected the start of a"):
        build_optimizer(name, task, **settings, lr_delays={"hat.": 2})


def test_amsgrad_is_that_of_torch():
    """One group without biases, so that weight decay is on all of it as Malinois was trained."""
    ours, theirs = (torch.nn.Linear(3, 2, bias=False) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    settings = {"weight_decay": 0.1, "betas": (0.8661, 0.8792)}
    first = build_optimizer("adam_amsgrad", ours, eps=1e-8, **settings)
    set_lr(first, lambda delay: 0.01)
    second = torch.optim.Adam(theirs.parameters(), lr=0.01, amsgrad=True, **settings)
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        for model, optimizer in ((ours, first), (theirs, second)):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    assert torch.allclose(ours.weight, theirs.weight, atol=1e-7)


def test_unknown_optimizer():
    with pytest.raises(ValueError, match="optimizer is 'sgd', expected one of: adamw"):
        build_optimizer("sgd", ToyTask(), weight_decay=0.0, betas=(0.9, 0.98), eps=1e-6)


def test_released_fp16_is_autocast_without_scaling():
    assert choose_precision("fp16", torch.device("cpu")) == ("fp16", "asked for")
    for precision, dtype in (("fp16", torch.float16), ("fp32", torch.float32)):
        with autocast(torch.device("cpu"), precision):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_precision_comes_with_its_reason():
    assert choose_precision("auto", torch.device("cpu"))[0] == "fp32"
    assert choose_precision("bf16", torch.device("cpu")) == ("bf16", "asked for")
    with pytest.raises(ValueError, match=r"unknown precision 'half'.*auto, bf16, fp32"):
        choose_precision("half", torch.device("cpu"))


def test_matmul_precision_is_put_back_after_an_error():
    before = torch.get_float32_matmul_precision()
    with pytest.raises(RuntimeError), matmul_precision("bf16"):
        assert torch.get_float32_matmul_precision() == "high"
        raise RuntimeError
    assert torch.get_float32_matmul_precision() == before


def test_clock_adds_up_phases():
    clock = PhaseClock(torch.device("cpu"))
    clock.enter("data")
    time.sleep(0.02)
    clock.enter("compute")
    spent = clock.read()
    assert spent["data"] >= 0.02
    assert spent["optim"] == 0
    assert clock.read()["data"] == 0


def test_micro_batches_are_dealt_in_turn():
    assert [own_micro_batches(5, rank, 2) for rank in (0, 1)] == [[0, 2, 4], [1, 3]]
    with pytest.raises(ValueError, match=r"micro_batches is 1.*2 processes"):
        own_micro_batches(1, 0, 2)


def test_prefetch_works_ahead_in_another_thread_and_stops_in_time():
    calls = []

    def batches(step, micro):
        calls.append((step, micro, threading.current_thread().name))
        return {"n_targets": step}

    ahead = Prefetcher(batches, [0, 2], stop=2)
    assert ahead.get(0) == [{"n_targets": 0}] * 2
    assert ahead.get(1) == [{"n_targets": 1}] * 2
    ahead.close()
    assert [call[:2] for call in calls] == [(0, 0), (0, 2), (1, 0), (1, 2)]
    assert all("genomelm-batches" in call[2] for call in calls)


def test_prefetch_errors_reach_the_caller():
    def batches(step, micro):
        raise KeyError("no such chromosome")

    ahead = Prefetcher(batches, [0], stop=2)
    with pytest.raises(KeyError, match="no such chromosome"):
        ahead.get(0)
    ahead.close()


def test_token_counts():
    ids = torch.zeros(2, 5, dtype=torch.long)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    assert split_counts({"input_ids": ids, "n_targets": 3})[1:] == (3, 10)
    assert split_counts({"input_ids": ids, "attention_mask": mask, "n_targets": 3})[1:] == (3, 8)
    tensors, n_targets, n_tokens = split_counts({"x": ids, "n_targets": 3, "n_tokens": 9})
    assert (list(tensors), n_targets, n_tokens) == (["x"], 3, 9)
    with pytest.raises(ValueError, match="needs the integer 'n_targets', found only: input_ids"):
        split_counts({"input_ids": ids})
