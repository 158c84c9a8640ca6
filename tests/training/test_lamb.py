"""LAMB: golden fact, an independent numpy version, edge cases, state that resumes."""

import copy

import numpy as np
import pytest
import torch

from genomelm_utils.training.lamb import Lamb


def make(values: list[float], **settings) -> tuple[torch.nn.Parameter, Lamb]:
    parameter = torch.nn.Parameter(torch.tensor(values))
    return parameter, Lamb([parameter], **settings)


def test_golden_step() -> None:
    """Golden fact 11: |w| = 5, u = (3.16228, -3.16228), |u| = 4.472136, r = 1.118034."""
    w, lamb = make([3.0, 4.0], lr=1e-3, eps=1e-8)
    w.grad = torch.tensor([1.0, -2.0])
    lamb.step()
    assert w.tolist() == pytest.approx([2.996464, 4.003536], abs=1e-6)
    moved = np.array([3.0, 4.0]) - w.detach().numpy()
    assert np.linalg.norm(moved) == pytest.approx(1e-3 * 1.118034 * 4.472136, rel=1e-3)


def lamb_numpy(w, grads, *, lr, betas, eps, decay):
    """The published update, tensor by tensor, in float64."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for step, g in enumerate(grads):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        u = m / (np.sqrt(v) + eps) + decay * w
        phi, size = min(np.sqrt((w**2).sum()), 10.0), np.sqrt((u**2).sum())
        r = phi / size if phi and size else 1.0
        w = w - lr[step] * r * u
    return w


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("scale", [0.0, 0.3, 40.0])
def test_equals_numpy_over_many_steps(decay, scale, rng) -> None:
    """Weights of norm 0, small and above 10; several tensors and groups at once."""
    shapes = [(5,), (3, 4), (), (2, 2, 2)]
    starts = [np.asarray(scale * rng.normal(size=shape)) for shape in shapes]
    grads = [[np.asarray(rng.normal(size=shape)) for _ in range(7)] for shape in shapes]
    rates = [1e-2 * (step + 1) / 7 for step in range(7)]
    params = [torch.nn.Parameter(torch.from_numpy(np.array(start))) for start in starts]
    settings = {"betas": (0.9, 0.99), "eps": 1e-6}
    groups = [{"params": params[:2], "weight_decay": decay}, {"params": params[2:]}]
    lamb = Lamb(groups, **settings, weight_decay=decay)
    for step in range(7):
        for group in lamb.param_groups:
            group["lr"] = rates[step]
        for parameter, gradient in zip(params, grads, strict=True):
            parameter.grad = torch.from_numpy(np.array(gradient[step]))
        lamb.step()
    for start, gradient, parameter in zip(starts, grads, params, strict=True):
        expected = lamb_numpy(start, gradient, lr=rates, decay=decay, **settings)
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-10, atol=1e-14)


def test_no_gradient_no_step_and_zero_gradients_stay_finite() -> None:
    idle, moved = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    lamb = Lamb([idle, moved], lr=0.1)
    moved.grad = torch.zeros(3)
    lamb.step()
    assert torch.equal(idle, torch.ones(3))
    assert torch.equal(moved, torch.ones(3))
    assert idle not in lamb.state


def test_a_state_that_is_loaded_goes_on_alike() -> None:
    w, lamb = make([3.0, 4.0], lr=1e-2)
    w.grad = torch.tensor([1.0, -2.0])
    lamb.step()
    saved, start = copy.deepcopy(lamb.state_dict()), w.detach().clone()
    again, other = make(start.tolist(), lr=1e-2)
    other.load_state_dict(saved)
    for parameter, optimizer in ((w, lamb), (again, other)):
        parameter.grad = torch.tensor([-1.0, 0.5])
        optimizer.step()
    assert torch.equal(w, again)


def test_the_closure_is_called_with_gradients() -> None:
    w, lamb = make([3.0], lr=0.1)

    def closure() -> torch.Tensor:
        lamb.zero_grad()
        loss = w.square().sum()
        loss.backward()
        return loss.detach()

    assert float(lamb.step(closure)) == 9.0
    assert w.item() < 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"betas": (1.0, 0.9)}, r"betas are \(1.0, 0.9\), expected two numbers in \[0, 1\)"),
        ({"lr": -1.0}, "lr is -1.0, expected at least 0"),
        ({"eps": -1e-8}, "eps is -1e-08, expected at least 0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1, expected at least 0"),
    ],
)
def test_settings_out_of_range(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        make([1.0], **settings)


def test_sparse_gradients_are_refused() -> None:
    w, lamb = make([1.0, 2.0])
    w.grad = torch.tensor([1.0, 0.0]).to_sparse()
    with pytest.raises(RuntimeError, match="needs dense gradients, found a sparse one"):
        lamb.step()
