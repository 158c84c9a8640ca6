"""LAMB, the optimiser of CornBERT and FloraBERT: steps as long as the weights allow, per tensor."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

MAX_WEIGHT_NORM = 10.0  # Source: You et al. 2020; `clamp_value` of torch_optimizer's Lamb


class Lamb(torch.optim.Optimizer):
    """LAMB without bias correction, as the released training uses it.

    Per tensor: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; u = m / (sqrt(v) + eps) + decay w;
    w = w - lr r u with r = min(|w|, 10) / |u|, or 1 where either norm is 0. A tensor's first steps
    are therefore about lr long relative to its weights, however small its gradients.

    Source: You et al. 2020 (arXiv:1904.00962), algorithm 2, in the form of torch_optimizer's `Lamb`
    (no bias correction, weight norm cut at 10), which FloraBERT's released code takes.

    Args:
        params: parameters, or groups with their own `lr`, `weight_decay` and the like.
        lr: learning rate. betas, eps: of the moments. weight_decay: inside u, hence scaled by r.
    Raises: ValueError for settings out of range; RuntimeError for sparse gradients.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas are {betas}, expected two numbers in [0, 1)")
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            if value < 0:
                raise ValueError(f"{name} is {value}, expected at least 0")
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], torch.Tensor] | None = None) -> torch.Tensor | None:
        """One update of all parameters that have a gradient; the closure's loss, if one is given.

        On a GPU nothing waits for it: norms and ratios stay there.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            ready = [p for p in group["params"] if p.grad is not None]
            if any(p.grad.is_sparse for p in ready):
                raise RuntimeError("LAMB needs dense gradients, found a sparse one")
            for device in {p.device for p in ready}:
                self._update([p for p in ready if p.device == device], group)
        return loss

    def _update(self, params: list[torch.Tensor], group: dict[str, Any]) -> None:
        """All tensors of a group at once, in a few kernels."""
        (beta1, beta2), decay = group["betas"], group["weight_decay"]
        for p in params:
            if not self.state[p]:
                self.state[p] = {
                    "exp_avg": torch.zeros_like(p),
                    "exp_avg_sq": torch.zeros_like(p),
                }
        grads = [p.grad for p in params]
        first = [self.state[p]["exp_avg"] for p in params]
        second = [self.state[p]["exp_avg_sq"] for p in params]
        torch._foreach_mul_(first, beta1)
        torch._foreach_add_(first, grads, alpha=1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, grads, grads, value=1 - beta2)
        scale = torch._foreach_sqrt(second)
        torch._foreach_add_(scale, group["eps"])
        steps = torch._foreach_div(first, scale)
        if decay:
            torch._foreach_add_(steps, params, alpha=decay)
        weight_norms = torch.stack(torch._foreach_norm(params))
        step_norms = torch.stack(torch._foreach_norm(steps))
        ratios = weight_norms.clamp(max=MAX_WEIGHT_NORM) / step_norms
        ratios = ratios.where((weight_norms > 0) & (step_norms > 0), 1.0)
        torch._foreach_mul_(steps, list((ratios * -group["lr"]).unbind()))
        torch._foreach_add_(params, steps)
