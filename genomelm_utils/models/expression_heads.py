"""An encoder of tokens with a head that says how strongly a gene is expressed in each tissue.

The encoder is any Hugging Face model with `last_hidden_state` (RoBERTa, BERT, ALiBi BERT); the
head is FloraBERT's, over a mean or over an attention that knows the distance to the TSS.

Shapes: B rows, L ids, D width, T tissues, E distance bins.
"""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ModelOutput

# registers its encoder with AutoModel, so that a saved model of that kind can be read
from genomelm_utils.models import alibi_bert  # noqa: F401
from genomelm_utils.models.alibi_bert import describe_keys
from genomelm_utils.models.florabert import FloraBertModel

POOLINGS = ("mean", "attention")
OUTPUTS = ("value", "sparse")
RULES = ("corrected", "reference")
HEAD_DROPOUT = 0.2  # Source: FloraBERT preprint, fine-tuning; released config, hidden_dropout_prob
#: Borders (bp from the TSS) of the bins of the distance bias: narrow where the signal is. Source:
#: FloraBERT preprint, figure 2: k-mers matter within 100 bp of the TSS, hardly beyond 300.
DISTANCE_EDGES = (10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500, 650, 800, 1000, 1500, 2000)


class ExpressionConfig(PretrainedConfig):
    """Sizes and switches of an `ExpressionModel`.

    encoder: the encoder's own configuration, as a dictionary with `model_type`. tissues: names of
    the outputs, in order. pooling: 'mean' or 'attention'. output: 'value', or 'sparse' (a gate
    beside the value). special_ids: ids that are never pooled (`<s>` and `</s>`). pad_id: what
    fills rows, used only where no attention mask is given. mask_rule: 'reference' changes the
    caller's attention mask, as the released pooling does. distance_edges: see `DISTANCE_EDGES`.
    """

    model_type = "expression"

    encoder: dict[str, Any] | None = None
    tissues: list[str] | None = None
    pooling: str = "mean"
    output: str = "value"
    head_dropout: float | int = HEAD_DROPOUT
    batch_norm: bool = False
    special_ids: list[int] | None = None
    pad_id: int = 0
    mask_rule: str = "corrected"
    initializer_range: float | int = 0.02
    distance_edges: list[int] | None = None


@dataclass
class ExpressionOutput(ModelOutput):
    """logits [B, T] (what `output` means, see `tasks.regression`), gate [B, T] or None (logits of
    being expressed), embedding [B, D] (before the last layer), pooled [B, D] (before the head)."""

    logits: torch.Tensor | None = None
    gate: torch.Tensor | None = None
    embedding: torch.Tensor | None = None
    pooled: torch.Tensor | None = None


class ExpressionHead(nn.Module):
    """FloraBERT's head: two dense tanh layers and one output per tissue.

    z1 = drop(tanh(W1 drop(p) + b1)), optional BatchNorm, z = tanh(W2 z1 + b2), y = W3 z + b3; no
    dropout after z. z is the embedding of the sequence, the rows of W3 those of the tissues.
    Source: Levy et al. 2022 (Research Square rs-1927200/v1), released `models.py`.
    """

    def __init__(self, config: ExpressionConfig, width: int) -> None:
        super().__init__()
        n_tissues = len(config.tissues)
        self.dropout = nn.Dropout(config.head_dropout)
        self.dense1 = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width) if config.batch_norm else None
        self.dense2 = nn.Linear(width, width)
        self.output = nn.Linear(width, n_tissues)
        self.gate = nn.Linear(width, n_tissues) if config.output == "sparse" else None

    def forward(self, pooled_BD: torch.Tensor) -> ExpressionOutput:
        z1_BD = self.dropout(torch.tanh(self.dense1(self.dropout(pooled_BD))))
        if self.norm is not None:
            z1_BD = self.norm(z1_BD)
        z_BD = torch.tanh(self.dense2(z1_BD))
        gate_BT = None if self.gate is None else self.gate(z_BD)
        return ExpressionOutput(self.output(z_BD), gate_BT, z_BD, pooled_BD)


class MeanPool(nn.Module):
    """The mean of the hidden states where the mask is 1; zeros where there is no such token.

    An empty row divides by zero in the released pooling (NaN); here it pools to zeros.
    """

    def forward(
        self, hidden_BLD: torch.Tensor, kept_BL: torch.Tensor, distance_BL: torch.Tensor | None
    ) -> torch.Tensor:
        weight_BL1 = kept_BL.to(torch.float32).unsqueeze(-1)
        total_BD = (hidden_BLD.float() * weight_BL1).sum(1)
        return total_BD / weight_BL1.sum(1).clamp(min=1)


class AttentionPool(nn.Module):
    """A weighted mean: softmax of (query . h / sqrt(D) + a learned bias of the distance bin).

    Bins are counted from the TSS, so the pooling can prefer the proximal promoter whatever the
    length of the sequence. With all biases 0 and a small query it begins near the plain mean.
    """

    def __init__(self, width: int, edges: list[int]) -> None:
        super().__init__()
        self.edges = list(edges)
        self.query = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(len(edges) + 1))

    def forward(
        self, hidden_BLD: torch.Tensor, kept_BL: torch.Tensor, distance_BL: torch.Tensor | None
    ) -> torch.Tensor:
        if distance_BL is None:
            raise ValueError(
                "pooling 'attention' needs distance_bp: int [B, L], the offset of each token from "
                "the TSS in bases (negative upstream)"
            )
        weight_BL = self.weights(hidden_BLD, kept_BL, distance_BL)
        return torch.einsum("bl,bld->bd", weight_BL, hidden_BLD.float())

    def weights(
        self, hidden_BLD: torch.Tensor, kept_BL: torch.Tensor, distance_BL: torch.Tensor
    ) -> torch.Tensor:
        """float32 [B, L]: how much each token counts; 0 at masked ones, 1 in all (0 if none)."""
        edges_E = torch.tensor(self.edges, device=distance_BL.device)
        bin_BL = torch.bucketize(distance_BL.abs(), edges_E, right=True)
        scale = hidden_BLD.shape[-1] ** -0.5
        score_BL = (hidden_BLD.float() @ self.query.float()) * scale + self.bias.float()[bin_BL]
        # the lowest float, not -inf: a row without tokens stays finite
        score_BL = score_BL.masked_fill(~kept_BL, torch.finfo(torch.float32).min)
        return score_BL.softmax(1) * kept_BL


class ExpressionModel(PreTrainedModel):
    """Encoder, pooling, head. `save_pretrained` and `from_pretrained` as any model; its outputs
    are on the scale of the label transform saved beside it."""

    config_class = ExpressionConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True

    def __init__(self, config: ExpressionConfig) -> None:
        super().__init__(config)
        check_config(config)
        self.encoder = _new_encoder(config.encoder)
        width = self.encoder.config.hidden_size
        self.head = ExpressionHead(config, width)
        edges = config.distance_edges or list(DISTANCE_EDGES)
        self.pool = MeanPool() if config.pooling == "mean" else AttentionPool(width, edges)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """N(0, initializer_range), biases 0. Source: released `models.py`, as BERT."""
        super()._init_weights(module)
        if isinstance(module, AttentionPool):
            from transformers import initialization

            initialization.normal_(module.query, mean=0.0, std=self.config.initializer_range)
            initialization.zeros_(module.bias)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        distance_bp: torch.Tensor | None = None,
        hidden_BLD: torch.Tensor | None = None,
    ) -> ExpressionOutput:
        """Outputs of B rows of ids.

        input_ids, attention_mask (1 = token), position_ids: int64 [B, L]. Without a mask all ids
        but `pad_id` are tokens (the released head fails). distance_bp: int [B, L], offset of each
        token's last base from the TSS, -1 for the base beside it; special tokens may hold
        anything. hidden_BLD: what `encode` gave for these rows, which saves the encoder. The
        caller's mask is left as it was, unless `mask_rule` is 'reference'.
        """
        if attention_mask is None:
            attention_mask = (input_ids != self.config.pad_id).long()
        if hidden_BLD is None:
            hidden_BLD = self.encode(input_ids, attention_mask, position_ids)
        kept_BL = self.pooled_tokens(input_ids, attention_mask)
        return self.head(self.pool(hidden_BLD, kept_BL, distance_bp))

    def encode(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Last hidden states [B, L, D] of the encoder."""
        places = {} if position_ids is None else {"position_ids": position_ids}
        output = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **places)
        return output.last_hidden_state

    def pooled_tokens(self, ids_BL: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """bool [B, L]: tokens that are pooled, all but padding and special ones."""
        special_BL = torch.isin(ids_BL, torch.tensor(self.config.special_ids, device=ids_BL.device))
        if self.config.mask_rule == "reference":
            mask_BL[special_BL] = 0  # the caller's own: a second pass hides <s> from the encoder
            return mask_BL.bool()
        return mask_BL.bool() & ~special_BL

    def tissue_embeddings(self) -> torch.Tensor:
        """float32 [T, D]: the rows of the last layer, one per tissue, on the CPU."""
        return self.head.output.weight.detach().float().cpu().clone()


def build_expression_model(
    source: PreTrainedModel | PretrainedConfig,
    tissues: tuple[str, ...] | list[str],
    *,
    special_ids: list[int] | tuple[int, ...],
    pad_id: int,
    pooling: str = "mean",
    output: str = "value",
    head_dropout: float = HEAD_DROPOUT,
    dropout_rule: str = "corrected",
    batch_norm: bool = False,
    mask_rule: str = "corrected",
    seed: int = 0,
) -> ExpressionModel:
    """An expression model on the CPU around a copy of an encoder, its head from `seed` alone.

    source: a model (its encoder's weights are copied, heads such as `lm_head` dropped), or a
    configuration: all weights random, the network that was not pretrained. dropout_rule:
    'corrected', the encoder keeps its own dropout; 'reference', the released code's single key:
    the encoder's hidden dropout becomes `head_dropout` too. torch's random state is left as it was.

    Raises: ValueError for options out of range, or encoder weights that do not fit.
    """
    if dropout_rule not in RULES:
        raise ValueError(f"dropout_rule is {dropout_rule!r}, expected {' or '.join(RULES)}")
    encoder = (
        None if isinstance(source, PretrainedConfig) else getattr(source, "base_model", source)
    )
    own = source if encoder is None else encoder.config
    fields = {**own.to_dict(), "model_type": own.model_type}
    if dropout_rule == "reference":
        if "hidden_dropout_prob" not in fields:
            raise ValueError(
                f"dropout_rule 'reference' sets hidden_dropout_prob, which a {own.model_type!r} "
                "encoder does not have; use 'corrected'"
            )
        fields["hidden_dropout_prob"] = head_dropout
    config = ExpressionConfig(
        encoder=fields,
        tissues=list(tissues),
        pooling=pooling,
        output=output,
        head_dropout=head_dropout,
        batch_norm=batch_norm,
        special_ids=sorted({int(one) for one in special_ids}),
        pad_id=int(pad_id),
        mask_rule=mask_rule,
        initializer_range=getattr(own, "initializer_range", 0.02),
        distance_edges=list(DISTANCE_EDGES),
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = ExpressionModel(config)
        # drawn again by themselves: a head is the same whatever the size of the encoder before it
        torch.default_generator.manual_seed(seed)
        for module in [*model.head.modules(), *model.pool.modules()]:
            _draw_again(model, module)
    if encoder is not None:
        _copy_encoder(encoder, model.encoder)
    return model


def check_config(config: ExpressionConfig) -> None:
    """ValueError for an option that does not exist, or tissues that are missing or doubled."""
    for name, allowed in (("pooling", POOLINGS), ("output", OUTPUTS), ("mask_rule", RULES)):
        if getattr(config, name) not in allowed:
            raise ValueError(
                f"{name} is {getattr(config, name)!r}, expected {' or '.join(allowed)}"
            )
    if not 0 <= config.head_dropout < 1:
        raise ValueError(f"head_dropout is {config.head_dropout}, expected a fraction in [0, 1)")
    if not config.tissues or len(set(config.tissues)) < len(config.tissues):
        raise ValueError(f"tissues are {config.tissues}, expected at least one name, each once")
    if not config.encoder or "model_type" not in config.encoder:
        raise ValueError(
            "encoder is no configuration with a model_type; build the model around one"
        )


def _new_encoder(fields: dict[str, Any]) -> PreTrainedModel:
    """A randomly initialised encoder without a pooler (which no gradient would reach).

    A RoBERTa with `tss_positions` is ours: it counts positions from the TSS.
    """
    fields = dict(fields)
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    if getattr(config, "tss_positions", None):
        return FloraBertModel._from_config(config)
    kind = AutoModel._model_mapping[type(config)]
    kind = kind[0] if isinstance(kind, tuple | list) else kind
    takes_pooler = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
    return AutoModel.from_config(config, **({"add_pooling_layer": False} if takes_pooler else {}))


def _draw_again(model: ExpressionModel, module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        vars(parameter).pop("_is_hf_initialized", None)
    model._init_weights(module)


def _copy_encoder(source: nn.Module, target: nn.Module) -> None:
    """Encoder weights of one model into another; a pooler may be left over, nothing else."""
    with torch.no_grad():
        result = target.load_state_dict(source.state_dict(), strict=False)
    odd = [name for name in result.unexpected_keys if not name.startswith("pooler.")]
    if result.missing_keys or odd:
        raise ValueError(
            f"the {type(source).__name__} does not fill the encoder: "
            f"{describe_keys('missing', result.missing_keys)}, {describe_keys('unexpected', odd)}"
        )


AutoConfig.register(ExpressionConfig.model_type, ExpressionConfig, exist_ok=True)
AutoModel.register(ExpressionConfig, ExpressionModel, exist_ok=True)
