"""Losses and their weights, epochs of several tasks, expected bins: the golden facts."""

import numpy as np
import pytest
import torch
from torch import nn

from genomelm_utils.datasets.activity_task import TaskSpec
from genomelm_utils.tasks.activity_scores import score_outputs
from genomelm_utils.tasks.multitask import (
    MultiTask,
    l1_and_kl,
    task_loss,
    weigh_loss,
)
from genomelm_utils.tasks.multitask_batches import TaskRows, epoch_steps, make_batches, stack_inputs
from genomelm_utils.training.optim import get_schedule, one_cycle, warm_restarts

REGRESSION = TaskSpec("r", "regression", ("a",))
BINARY = TaskSpec("b", "multilabel", ("a", "c"), masked=True)
BINNED = TaskSpec("s", "binned", ("K562", "HepG2"), classes=tuple("01234"))


class Toy(nn.Module):
    """Stands in for a network: its embedding is the share of G and C."""

    def __init__(self, specs):
        super().__init__()
        self.backbone = nn.Linear(1, 1)
        self.heads = nn.ModuleDict({s.name: nn.Linear(1, len(s.head_outputs)) for s in specs})

    def embed(self, codes_BL):
        gc = ((codes_BL == 1) | (codes_BL == 2)).float().mean(1, keepdim=True)
        return self.backbone(gc)


@pytest.mark.parametrize(
    ("spec", "single", "loss", "expected"),
    [
        (REGRESSION, "reference", 2.0, 0.867879),
        (REGRESSION, "first", 2.0, 1.0),
        (REGRESSION, "corrected", 2.0, 2.0),
        (BINARY, "reference", float(np.log(2)), 0.754995),
        (BINARY, "corrected", float(np.log(2)), float(np.log(2))),
    ],
)
def test_weight_of_a_task_alone(spec, single, loss, expected):
    task = MultiTask(Toy([spec]), [spec], single=single)
    assert float(task.weigh(0, torch.tensor(loss))) == pytest.approx(expected, abs=1e-5)


def test_two_tasks_begin_with_half_a_squared_error_plus_cross_entropy():
    one = TaskSpec("c", "classification", ("a",), classes=("x", "y"))
    task = MultiTask(Toy([REGRESSION, one]), [REGRESSION, one])
    total = task.weigh(0, torch.tensor(3.0)) + task.weigh(1, torch.tensor(0.7))
    assert total.item() == pytest.approx(3.0 / 2 + 0.7)
    # the best log variance of a loss is its logarithm: exp(-s) L / 2 + s / 2
    s = torch.log(torch.tensor(3.0)).requires_grad_()
    weigh_loss(REGRESSION, torch.tensor(3.0), s).backward()
    assert float(s.grad) == pytest.approx(0, abs=1e-6)


def test_classes_add_the_log_variance_once_for_each_output():
    assert float(weigh_loss(BINNED, torch.tensor(0.0), torch.tensor(1.0))) == pytest.approx(1.0)


def test_masked_labels_count_nowhere():
    labels = torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
    values = torch.tensor([[0.3, 99.0], [-0.2, 0.5]])
    by_hand = nn.functional.binary_cross_entropy_with_logits(
        torch.tensor([0.3, -0.2, 0.5]), torch.tensor([1.0, 0.0, 1.0])
    )
    assert float(task_loss(BINARY, values, labels)) == pytest.approx(float(by_hand))
    nothing = task_loss(BINARY, values, torch.full((2, 2), float("nan")))
    assert float(nothing) == 0.0


def test_malinois_loss_of_one_column_has_no_divergence():
    """Source: golden facts: mean |d| / 6 for any [n, 1] pair."""
    rng = np.random.default_rng(0)
    values, labels = (torch.from_numpy(rng.random((7, 1))) for _ in range(2))
    expected = float((values - labels).abs().mean()) / 6
    for together in (True, False):
        assert float(l1_and_kl(values, labels, together=together)) == pytest.approx(expected)
    values, labels = (torch.from_numpy(rng.random((7, 3))) for _ in range(2))
    assert float(l1_and_kl(values, labels)) > float((values - labels).abs().mean()) / 6
    same = l1_and_kl(values, values)
    assert float(same) == pytest.approx(0, abs=1e-7)


def rows(name: str, n: int, batch_size: int = 2) -> TaskRows:
    codes = [np.full(4, i % 4, dtype=np.uint8) for i in range(n)]
    return TaskRows(name, codes, np.arange(n, dtype=np.float32)[:, None], batch_size)


def test_length_of_an_epoch():
    """Source: golden facts: loaders of 7, 3 and 5 batches."""
    assert epoch_steps({"a": 7, "b": 3, "c": 5}, "min_size") == 3
    assert epoch_steps({"a": 7, "b": 3, "c": 5}, "max_size_cycle") == 7
    with pytest.raises(ValueError, match="expected one of min_size"):
        epoch_steps({"a": 1}, "max")


def test_cycled_tasks_begin_again_and_all_rows_of_the_longest_are_seen():
    batches, steps = make_batches([rows("long", 14), rows("short", 6)], "max_size_cycle", seed=0)
    assert steps == 7
    seen = {name: np.concatenate([batches(s, 0)[f"{name}/labels"].ravel() for s in range(steps)])
            for name in ("long", "short")}  # fmt: skip
    assert sorted(seen["long"].tolist()) == list(range(14))
    assert (
        sorted(seen["short"][:6].tolist()) == sorted(seen["short"][6:12].tolist()) == list(range(6))
    )
    again = np.concatenate([batches(7 + s, 0)["long/labels"].ravel() for s in range(steps)])
    assert sorted(again.tolist()) == list(range(14))
    assert again.tolist() != seen["long"].tolist()


def test_rows_of_a_task_do_not_depend_on_other_tasks_or_their_order():
    one, _ = make_batches([rows("a", 9, 3), rows("b", 9, 3)], "min_size", seed=4)
    two, _ = make_batches([rows("b", 9, 3), rows("a", 9, 3), rows("c", 9, 3)], "min_size", seed=4)
    for step in range(6):
        assert torch.equal(one(step, 0)["a/labels"], two(step, 0)["a/labels"])


def test_a_last_batch_of_one_row_is_left_out():
    assert rows("a", 9, 4).n_batches == 2
    assert rows("a", 10, 4).n_batches == 3
    assert rows("a", 1, 4).n_batches == 1


def test_codes_travel_as_one_byte_per_base():
    codes = stack_inputs([np.array([0, 1], np.uint8), np.array([3], np.uint8)], np.array([0, 1]))
    assert codes.dtype == torch.uint8
    assert codes.tolist() == [[0, 1], [3, 15]]


def test_one_cycle():
    """Source: golden facts: 13 updates in each of 50 epochs, peak 5e-3."""
    by_epoch = get_schedule("one_cycle_by_epoch")
    assert 5e-3 * by_epoch(13, 13, 650) == pytest.approx(2.003e-4, abs=1e-7)
    assert 5e-3 * by_epoch(650, 13, 650) == pytest.approx(9.45e-4, abs=1e-6)
    per_step = [one_cycle(step, 0, 650) for step in range(650)]
    assert max(per_step) == pytest.approx(1, abs=1e-9)
    assert per_step.index(max(per_step)) == pytest.approx(0.3 * 650, abs=1.5)


def test_one_cycle_is_that_of_torch():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=100, three_phase=True)
    for step in range(100):
        assert one_cycle(step, 0, 100) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        if step < 99:
            optimizer.step()
            cycle.step()


def test_scores_of_outputs():
    spec = TaskSpec("t", "regression", ("a", "b", "c"), masked=True, headline=("a",))
    y = np.array([[1, 0, np.nan], [2, 0, 1], [3, 0, 2], [4, 0, 3]], dtype=np.float32)
    p = np.array([[1, 1, 9], [2, 2, 3], [3, 3, 2], [5, 4, 1]], dtype=np.float32)
    found = score_outputs(spec, y, p).set_index(["output", "metric"])
    assert found.loc[("a", "spearman"), "value"] == pytest.approx(1)
    assert found.loc[("a", "R2"), "value"] == pytest.approx(1 - 0.25 / 1.25)
    assert np.isnan(found.loc[("b", "pearson"), "value"])
    assert found.loc[("c", "pearson"), "value"] == pytest.approx(-1)
    assert found.loc[("c", "mse"), "n"] == 3
    assert found.loc[("mean", "R2"), "value"] == pytest.approx(0.8)
    binary = score_outputs(BINARY, y[1:, :2] > 2, np.array([[0.1, 0.9], [0.8, 0.1], [0.7, 0.2]]))
    assert binary.set_index(["output", "metric"]).loc[("a", "accuracy"), "value"] == 1.0


def test_warm_restarts_are_those_of_torch():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=4096)
    for step in (0, 1, 2048, 4095, 4096, 5000):
        restarts.step(step)
        assert warm_restarts(step, 0, 9000) == pytest.approx(optimizer.param_groups[0]["lr"])
