"""DNABERT-2's and DNABERT-S's architecture: BERT with ALiBi, gated feed-forward, no positions.

Module names, and so the keys of the state dict, are those of the published files. All dense
layers run on packed tokens: padding costs nothing and changes nothing.

Shapes: B rows, L ids of a padded row, N packed tokens, M chosen tokens, D width, V vocabulary,
C classes.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    SequenceClassifierOutput,
)

from genomelm_utils.models.alibi_attention import (
    Packing,
    alibi_slopes,
    attend,
    pack_lengths,
    pack_mask,
)

# Source: ids of the published tokenizer (DNABERT-2, tokenizer.json); its config.json says 0, the id
# of [UNK].
PAD_ID = 3


class AlibiBertConfig(PretrainedConfig):
    """Sizes of the encoder; the defaults are those of DNABERT-2-117M and DNABERT-S.

    There is no table of positions, hence no longest sequence. Attention weights have no dropout.
    Source: config.json of zhihan1996/DNABERT-S, with its wrong `pad_token_id` corrected.
    """

    model_type = "alibi_bert"

    vocab_size: int = 4096
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    type_vocab_size: int = 2
    hidden_dropout_prob: float | int = 0.1
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    pad_token_id: int | None = PAD_ID
    tie_word_embeddings: bool = True


#: Preset name -> fields that differ from the published model's.
ALIBI_PRESETS: dict[str, dict[str, int]] = {
    "dnabert-s": {},
    "mini": {
        "num_hidden_layers": 2,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 512,
    },
    "micro": {
        "num_hidden_layers": 2,
        "hidden_size": 128,
        "num_attention_heads": 4,
        "intermediate_size": 256,
    },
}


def alibi_config(name: str, **changes: float) -> AlibiBertConfig:
    """The configuration of a preset: `dnabert-s` as published, `mini` and `micro` for a CPU.

    changes: fields to set otherwise, e.g. `vocab_size=1024`. Narrow networks start with weights
    wider by sqrt(768 / width), so that products start as large as in the published one.
    Errors: ValueError for an unknown preset, or a width that the heads do not divide.
    """
    if name not in ALIBI_PRESETS:
        known = ", ".join(ALIBI_PRESETS)
        raise ValueError(f"unknown ALiBi model preset {name!r}, expected one of: {known}")
    fields = {**ALIBI_PRESETS[name], **changes}
    width = fields.get("hidden_size", AlibiBertConfig.hidden_size)
    scale = (AlibiBertConfig.hidden_size / width) ** 0.5
    fields.setdefault("initializer_range", round(AlibiBertConfig.initializer_range * scale, 4))
    config = AlibiBertConfig(**fields)
    check_config(config)
    return config


def check_config(config: AlibiBertConfig) -> None:
    """ValueError when the heads do not divide the width, or a size is not positive."""
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    for name in (*sizes, "intermediate_size", "type_vocab_size"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}, expected at least 1")
    if config.hidden_size % config.num_attention_heads:
        raise ValueError(
            f"hidden_size {config.hidden_size} is not a multiple of num_attention_heads "
            f"{config.num_attention_heads}; change one of them"
        )


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


def mean_embedding(hidden_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
    """The mean over tokens, [CLS] and [SEP] included: float32 [B, D], not normalised.

    This is the embedding of DNABERT-S everywhere. mask_BL: True or 1 = token, at least one in each
    row. Source: evaluate/utils.py of DNABERT-S, `calculate_llm_embedding`.
    """
    weight_BL1 = mask_BL.to(torch.float32).unsqueeze(-1)
    return (hidden_BLD.float() * weight_BL1).sum(dim=1) / weight_BL1.sum(dim=1)


class AlibiEmbeddings(nn.Module):
    """Token plus type embedding, normalised. [UNK] is learnt like any token (reference: never)."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

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
        self.slopes = alibi_slopes(config.num_attention_heads)
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)

    def forward(self, hidden_ND: torch.Tensor, packing: Packing) -> torch.Tensor:
        return attend(self.Wqkv(hidden_ND), packing, self.slopes)


class AlibiSelfOutput(nn.Module):
    """Projection of the heads, dropout, residual, normalisation."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, heads_ND: torch.Tensor, residual_ND: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(self.dropout(self.dense(heads_ND)) + residual_ND)


class AlibiAttention(nn.Module):
    """Attention block; `self` and `output` are the published names."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.self = AlibiSelfAttention(config)
        self.output = AlibiSelfOutput(config)

    def forward(self, hidden_ND: torch.Tensor, packing: Packing) -> torch.Tensor:
        return self.output(self.self(hidden_ND, packing), hidden_ND)


class AlibiGatedMLP(nn.Module):
    """GEGLU feed-forward, residual, normalisation. The first half of `gated_layers` is the gate.

    Source: GLU variants, Shazeer 2020, arXiv:2002.05202.
    """

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.gated_layers = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        gate, linear = self.gated_layers(hidden_ND).chunk(2, dim=-1)
        return self.layernorm(self.wo(self.dropout(F.gelu(gate) * linear)) + hidden_ND)


class AlibiLayer(nn.Module):
    """Attention, then feed-forward, each normalised after its residual."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.attention = AlibiAttention(config)
        self.mlp = AlibiGatedMLP(config)

    def forward(self, hidden_ND: torch.Tensor, packing: Packing) -> torch.Tensor:
        return self.mlp(self.attention(hidden_ND, packing))


class AlibiEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(AlibiLayer(config) for _ in range(config.num_hidden_layers))

    def forward(
        self, hidden_ND: torch.Tensor, packing: Packing, mixing: Mixing | None
    ) -> tuple[torch.Tensor, Packing]:
        for number, layer in enumerate(self.layer):
            if mixing is not None and mixing.layer == number:
                hidden_ND, packing = mix_rows(hidden_ND, packing, mixing)
            hidden_ND = layer(hidden_ND, packing)
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


class AlibiPreTrainedModel(PreTrainedModel):
    """What the three models share: initial weights, names, and loading that is never silent."""

    config_class = AlibiBertConfig
    base_model_prefix = "bert"

    @classmethod
    def from_pretrained(cls, source, *args, output_loading_info: bool = False, **kwargs):
        """As in transformers, but weights of the encoder that are missing or unknown are an error.

        Only heads (`cls.`, `classifier.`, `pooler.`) may come or go. Published files are read with
        `models.alibi_loading.load_alibi`.
        """
        model, info = super().from_pretrained(source, *args, output_loading_info=True, **kwargs)
        heads = ("cls.", "classifier.", "pooler.", "bert.pooler.")
        lost = sorted(k for k in info["missing_keys"] if not k.startswith(heads))
        odd = sorted(k for k in info["unexpected_keys"] if not k.startswith(heads))
        if lost or odd:
            raise ValueError(
                f"{source}: {describe_keys('missing', lost)}, {describe_keys('unexpected', odd)}; "
                "is it the checkpoint of another kind of model?"
            )
        return (model, info) if output_loading_info else model


def describe_keys(what: str, keys: list[str]) -> str:
    """'2 missing weights (a, b)', shortened to five names."""
    if not keys:
        return f"no {what} weights"
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return f"{len(keys)} {what} weights ({', '.join(keys[:5])}{more})"


class AlibiBertModel(AlibiPreTrainedModel):
    """The encoder. Embeddings are `mean_embedding` of its output, never its pooler's.

    add_pooling_layer: whether it has a pooler at all (DNABERT-S's file has one, DNABERT-2's none).
    """

    def __init__(self, config: AlibiBertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        check_config(config)
        self.embeddings = AlibiEmbeddings(config)
        self.encoder = AlibiEncoder(config)
        self.pooler = AlibiPooler(config) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embeddings.word_embeddings = value

    def encode(
        self,
        ids_BL: torch.Tensor,
        mask_BL: torch.Tensor | None = None,
        mixing: Mixing | None = None,
        types_BL: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(last hidden states [B, L, D], zero at padding; mask [B, L], bool, after mixing).

        ids_BL: int64, padded on the right. mask_BL: True or 1 = token; None: where ids are not
        padding. mixing: rows mixed inside; a mixed row is as long as its shorter parent, and the
        mask says so. types_BL: token types, 0 when None.
        Errors: ValueError for rows without tokens or with padding before them, and for a mixing
        that does not fit.
        """
        if mask_BL is None:
            mask_BL = ids_BL != self.config.pad_token_id
        if mixing is not None:
            mixing.check(self.config.num_hidden_layers, len(ids_BL))
        packing = pack_mask(mask_BL)
        types_N = None if types_BL is None else packing.pack(types_BL)
        hidden_ND = self.embeddings(packing.pack(ids_BL), types_N)
        hidden_ND, after = self.encoder(hidden_ND, packing, mixing)
        if after is packing:
            return packing.unpack(hidden_ND), mask_BL.bool()
        tokens_N1 = torch.ones_like(after.row_N)[:, None]
        return after.unpack(hidden_ND), after.unpack(tokens_N1)[..., 0].bool()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> BaseModelOutputWithPooling:
        """`last_hidden_state` [B, L, D]; `pooler_output` is None on purpose (see `AlibiPooler`)."""
        hidden_BLD, _ = self.encode(input_ids, attention_mask, types_BL=token_type_ids)
        return BaseModelOutputWithPooling(last_hidden_state=hidden_BLD)


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


class AlibiBertForMaskedLM(AlibiPreTrainedModel):
    """The encoder without pooler, and a masked language model's head: DNABERT-2-117M."""

    _tied_weights_keys = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"
    }

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__(config)
        self.bert = AlibiBertModel(config, add_pooling_layer=False)
        self.cls = AlibiMLMHead(config)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.cls.predictions.decoder

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.cls.predictions.decoder = value

    def predict_tokens(
        self,
        input_ids: torch.Tensor,
        chosen_BL: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits [M, V] of the tokens where chosen_BL (bool) is True, row by row: the head runs on
        no other."""
        hidden_BLD, _ = self.bert.encode(input_ids, attention_mask)
        return self.cls.predictions(hidden_BLD[chosen_BL])

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> MaskedLMOutput:
        """`logits` [B, L, V]; with labels (-100 = not asked) also `loss`, the mean over the others.

        In training `predict_tokens` is the fast way. Labels of id 0 count (reference: ignored).
        """
        hidden_BLD, _ = self.bert.encode(input_ids, attention_mask, types_BL=token_type_ids)
        logits_BLV = self.cls.predictions(hidden_BLD)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits_BLV.float().flatten(0, 1), labels.flatten())
        return MaskedLMOutput(loss=loss, logits=logits_BLV)


class AlibiBertForSequenceClassification(AlibiPreTrainedModel):
    """Encoder, pooler of [CLS], dropout, linear: DNABERT-2's fine-tuning model."""

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__(config)
        self.bert = AlibiBertModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """`logits` [B, C]; with labels (int64[B]) also `loss`, the mean cross-entropy."""
        hidden_BLD, _ = self.bert.encode(input_ids, attention_mask, types_BL=token_type_ids)
        logits_BC = self.classifier(self.dropout(self.bert.pooler(hidden_BLD)))
        loss = None if labels is None else F.cross_entropy(logits_BC.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits_BC)


AutoConfig.register(AlibiBertConfig.model_type, AlibiBertConfig, exist_ok=True)
AutoModel.register(AlibiBertConfig, AlibiBertModel, exist_ok=True)
AutoModelForMaskedLM.register(AlibiBertConfig, AlibiBertForMaskedLM, exist_ok=True)
AutoModelForSequenceClassification.register(
    AlibiBertConfig, AlibiBertForSequenceClassification, exist_ok=True
)
