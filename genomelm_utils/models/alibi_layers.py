"""The modules of ALiBi BERT, named as in the published state dicts, over packed tokens.

Shapes: B rows, L ids of a padded row, N packed tokens, M chosen tokens, D width, H heads,
V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from genomelm_utils.models.alibi_attention import Packing, alibi_slopes, attend, pack_lengths
from genomelm_utils.models.alibi_config import AlibiBertConfig


@dataclass
class Mixing:
    """Mixup inside the encoder: row i becomes weight_i * row i + (1 - weight_i) * its partner.

    Attributes: layer: number of layers already applied, 0 (right after the embeddings) to
    n_layers - 1. partner_B: int64, row of the partner in this batch. weight_B: float in [0, 1].
    Source: manifold mixup as in DNABERT-S, arXiv:2402.08777, section 3.3.
    """

    layer: int
    partner_B: torch.Tensor
    weight_B: torch.Tensor

    def check(self, n_layers: int, n_rows: int) -> None:
        """ValueError when the layer or the partners do not exist in this model and batch."""
        if not 0 <= self.layer < n_layers:
            raise ValueError(
                f"mixing layer is {self.layer}, expected 0 to {n_layers - 1} (layers already "
                "applied; never after the last)"
            )
        if not len(self.partner_B) == len(self.weight_B) == n_rows:
            raise ValueError(
                f"mixing has {len(self.partner_B)} partners and {len(self.weight_B)} weights, "
                f"expected one of each for {n_rows} rows"
            )


class Dropout(nn.Module):
    """Each number kept with probability 1 - p and scaled by 1 / (1 - p), in training only.

    On a CPU a third of the time of torch's own: one draw of 64 bits serves four numbers, so p is
    rounded to a multiple of 2^-16.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout is {p}, expected a probability in [0, 1)")
        self.p = p

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return values
        if values.device.type != "cpu":
            return F.dropout(values, self.p)
        draws = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        draws = draws.view(torch.int16)[: values.numel()].view(values.shape)
        kept = draws >= round(self.p * 2**16) - 2**15
        return values * kept.to(values.dtype).mul_(1 / (1 - self.p))


class AlibiEmbeddings(nn.Module):
    """Token plus type embedding, normalised. [UNK] is learnt like any token (reference: never)."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, ids_N: torch.Tensor, types_N: torch.Tensor | None) -> torch.Tensor:
        if types_N is None:
            type_ND = self.token_type_embeddings.weight[0]
        else:
            type_ND = self.token_type_embeddings(types_N)
        return self.dropout(self.LayerNorm(self.word_embeddings(ids_N) + type_ND))


class AlibiSelfAttention(nn.Module):
    """Query, key and value from one matrix, attention with ALiBi."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)

    def forward(
        self, hidden_ND: torch.Tensor, packing: Packing, slopes_H: torch.Tensor
    ) -> torch.Tensor:
        return attend(self.Wqkv(hidden_ND), packing, slopes_H)


class AlibiSelfOutput(nn.Module):
    """Projection of the heads, dropout, residual, normalisation."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, heads_ND: torch.Tensor, residual_ND: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(self.dropout(self.dense(heads_ND)) + residual_ND)


class AlibiAttention(nn.Module):
    """Attention block; `self` and `output` are the published names."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.self = AlibiSelfAttention(config)
        self.output = AlibiSelfOutput(config)

    def forward(
        self, hidden_ND: torch.Tensor, packing: Packing, slopes_H: torch.Tensor
    ) -> torch.Tensor:
        return self.output(self.self(hidden_ND, packing, slopes_H), hidden_ND)


class AlibiGatedMLP(nn.Module):
    """GEGLU feed-forward, residual, normalisation. The first half of `gated_layers` is the gate.

    Source: GLU variants, Shazeer 2020, arXiv:2002.05202.
    """

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.gated_layers = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        gate, linear = self.gated_layers(hidden_ND).chunk(2, dim=-1)
        return self.layernorm(self.wo(self.dropout(F.gelu(gate) * linear)) + hidden_ND)


class AlibiLayer(nn.Module):
    """Attention, then feed-forward, each normalised after its residual."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.attention = AlibiAttention(config)
        self.mlp = AlibiGatedMLP(config)

    def forward(
        self, hidden_ND: torch.Tensor, packing: Packing, slopes_H: torch.Tensor
    ) -> torch.Tensor:
        return self.mlp(self.attention(hidden_ND, packing, slopes_H))


class AlibiEncoder(nn.Module):
    """The stack of layers. Slopes are plain numbers: nothing to save, nothing on `meta`."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.slopes = alibi_slopes(config.num_attention_heads)
        self.layer = nn.ModuleList(AlibiLayer(config) for _ in range(config.num_hidden_layers))

    def forward(
        self, hidden_ND: torch.Tensor, packing: Packing, mixing: Mixing | None
    ) -> tuple[torch.Tensor, Packing]:
        slopes_H = torch.tensor(self.slopes, device=hidden_ND.device)
        for number, layer in enumerate(self.layer):
            if mixing is not None and mixing.layer == number:
                hidden_ND, packing = mix_rows(hidden_ND, packing, mixing)
            hidden_ND = layer(hidden_ND, packing, slopes_H)
        return hidden_ND, packing


def mix_rows(
    hidden_ND: torch.Tensor, packing: Packing, mixing: Mixing
) -> tuple[torch.Tensor, Packing]:
    """Rows mixed with their partners, token by token from the left, as long as the shorter one."""
    device = hidden_ND.device
    lengths_B = torch.bincount(packing.row_N, minlength=packing.n_rows).cpu()
    partner_B = mixing.partner_B.cpu()
    shorter = torch.minimum(lengths_B, lengths_B[partner_B]).tolist()
    mixed = pack_lengths(shorter, packing.width, device)
    own_N = packing.start_B[mixed.row_N] + mixed.position_N
    other_N = packing.start_B[partner_B.to(device)[mixed.row_N]] + mixed.position_N
    weight_N1 = mixing.weight_B.to(hidden_ND)[mixed.row_N][:, None]
    return torch.lerp(hidden_ND[other_N], hidden_ND[own_N], weight_N1), mixed


class AlibiPooler(nn.Module):
    """tanh(dense([CLS])). For a classifier; as an embedding it is noise: no loss trained it."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_BLD: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.dense(hidden_BLD[:, 0]))


class AlibiTransform(nn.Module):
    """Dense, GELU, normalisation before the decoder."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_MD: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(F.gelu(self.dense(hidden_MD)))


class AlibiPredictions(nn.Module):
    """Logits over the vocabulary; the decoder's matrix is that of the word embedding."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.transform = AlibiTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, hidden_MD: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.transform(hidden_MD))


class AlibiMLMHead(nn.Module):
    """Holder of the published name `cls.predictions`."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.predictions = AlibiPredictions(config)
