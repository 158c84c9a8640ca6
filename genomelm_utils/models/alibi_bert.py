"""DNABERT-2's and DNABERT-S's architecture: BERT with ALiBi, gated feed-forward, no positions.

Module names, and so the keys of the state dict, are those of the published files. All dense
layers run on packed tokens: padding costs nothing and changes nothing.

Shapes: B rows, L ids of a padded row, N packed tokens, M chosen tokens, D width, V vocabulary,
C classes.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    SequenceClassifierOutput,
)

from genomelm_utils.models.alibi_attention import pack_mask
from genomelm_utils.models.alibi_config import (
    ALIBI_PRESETS,
    AlibiBertConfig,
    alibi_config,
    check_config,
)
from genomelm_utils.models.alibi_layers import (
    AlibiEmbeddings,
    AlibiEncoder,
    AlibiMLMHead,
    AlibiPooler,
    Dropout,
    Mixing,
)

__all__ = [
    "ALIBI_PRESETS",
    "AlibiBertConfig",
    "AlibiBertForMaskedLM",
    "AlibiBertForSequenceClassification",
    "AlibiBertModel",
    "Mixing",
    "alibi_config",
    "mean_embedding",
]


def mean_embedding(hidden_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
    """The mean over tokens, [CLS] and [SEP] included: float32 [B, D], not normalised.

    This is the embedding of DNABERT-S everywhere. mask_BL: True or 1 = token, at least one in each
    row. Source: evaluate/utils.py of DNABERT-S, `calculate_llm_embedding`.
    """
    weight_BL1 = mask_BL.to(torch.float32).unsqueeze(-1)
    return (hidden_BLD.float() * weight_BL1).sum(dim=1) / weight_BL1.sum(dim=1)


def check_ids(ids_BL: torch.Tensor, vocab_size: int) -> None:
    """ValueError for an id outside the vocabulary; on a GPU the look-up itself fails instead."""
    if ids_BL.device.type == "cpu" and ids_BL.numel() and int(ids_BL.max()) >= vocab_size:
        raise ValueError(
            f"token id {int(ids_BL.max())}, expected less than the vocabulary of {vocab_size}; is "
            "it the tokenizer of another model?"
        )


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
        check_ids(ids_BL, self.config.vocab_size)
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

    def predict_at(
        self, ids_BL: torch.Tensor, mask_BL: torch.Tensor, positions_N: torch.Tensor
    ) -> torch.Tensor:
        """Logits [N, V] at places of the flattened batch, known beforehand: nothing is counted."""
        hidden_BLD, _ = self.bert.encode(ids_BL, mask_BL)
        return self.cls.predictions(hidden_BLD.flatten(0, 1).index_select(0, positions_N))

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
        self.dropout = Dropout(config.hidden_dropout_prob)
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
