"""Which parameters of an expression model learn how fast, and when: layers, embeddings, head.

Names are those of `RegressionTask`, whose model stands under `model.`.
"""

from itertools import pairwise

from torch import nn

from genomelm_utils.models.expression_heads import RULES, ExpressionModel

HEAD = ("model.head.", "model.pool.")
FREEZE = ("none", "encoder")


def layer_names(model: ExpressionModel) -> tuple[list[str], list[str]]:
    """(prefixes of everything below the layers, prefix of each layer from the lowest up).

    Raises: ValueError for an encoder whose stack of layers is not found.
    """
    n_layers = model.encoder.config.num_hidden_layers
    stacks = [
        name
        for name, module in model.encoder.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == n_layers
    ]
    if not stacks:
        raise ValueError(
            f"the {type(model.encoder).__name__} has no list of its {n_layers} layers; use "
            "layer_decay 1 and unfreeze_delay 0"
        )
    layers = [f"model.encoder.{stacks[0]}.{i}." for i in range(n_layers)]
    stack = f"model.encoder.{stacks[0]}."
    names = [f"model.encoder.{name}" for name, _ in model.encoder.named_parameters()]
    below = sorted({name for name in names if not name.startswith(stack)})
    return below, layers


def layerwise_scales(model: ExpressionModel, decay: float) -> dict[str, float]:
    """Prefix -> factor on the learning rate: 1 for pooling and head, `decay` for the top layer,
    decay^n for the lowest of n, decay^(n + 1) for the embeddings. Empty for decay 1.

    Source: Howard and Ruder 2018 (arXiv:1801.06146), discriminative fine-tuning; ELECTRA
    (arXiv:2003.10555), layer-wise decay.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"layer_decay is {decay}, expected a factor in (0, 1]")
    if decay == 1:
        return {}
    below, layers = layer_names(model)
    n = len(layers)
    scales = {prefix: decay ** (n - i) for i, prefix in enumerate(layers)}
    return {**scales, **dict.fromkeys(below, decay ** (n + 1))}


def unfreezing_groups(
    model: ExpressionModel, n_groups: int, rule: str = "corrected"
) -> list[list[str]]:
    """Prefixes of the groups that unfreeze one after the other, lowest first, the head last.

    The layers fall into `n_groups` groups of neighbours; 'corrected' puts the embeddings into the
    lowest group and all of pooling and head into the last. 'reference' has the first matrix of the
    head alone and no embeddings: everything it leaves out is never trained (`freeze_unnamed`).
    Source: released `training.py`, `make_param_groups`.
    """
    if rule not in RULES:
        raise ValueError(f"groups is {rule!r}, expected {' or '.join(RULES)}")
    below, layers = layer_names(model)
    if not 1 <= n_groups <= len(layers):
        raise ValueError(
            f"unfreeze_groups is {n_groups}, expected 1 to {len(layers)}, the encoder's layers"
        )
    cuts = [len(layers) * i // n_groups for i in range(n_groups + 1)]
    groups = [layers[a:b] for a, b in pairwise(cuts)]
    if rule == "reference":
        return [*groups, ["model.head.dense1.weight"]]
    head = [prefix for prefix in HEAD if _has_parameters(model, prefix)]
    return [[*below, *groups[0]], *groups[1:], head]


def freeze_unnamed(model: ExpressionModel, groups: list[list[str]]) -> list[str]:
    """Take the gradient from all parameters that no prefix names; their names."""
    prefixes = tuple(prefix for group in groups for prefix in group)
    frozen = []
    for name, parameter in model.named_parameters():
        if not f"model.{name}".startswith(prefixes):
            parameter.requires_grad_(False)
            frozen.append(name)
    return frozen


def _has_parameters(model: ExpressionModel, prefix: str) -> bool:
    return any(f"model.{name}".startswith(prefix) for name, _ in model.named_parameters())
