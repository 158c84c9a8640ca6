"""CornBERT's and FloraBERT's encoder: RoBERTa whose positions are counted from the TSS.

Rows are padded on the left and end at the TSS, so the last slot of a row always has the same
position, in a batch of any width: what a sequence gives does not depend on what it is batched with.

The files are plain RoBERTa (`model_type: roberta`): `transformers` alone loads the weights. Its
own model would count positions from the left: hand it `position_ids`, or use these classes.

Shapes: B rows, L ids of a padded row, N chosen tokens, D width, V vocabulary.
"""

import logging
from pathlib import Path

import torch
from torch import nn
from transformers import RobertaConfig, RobertaModel
from transformers.modeling_outputs import MaskedLMOutput
from transformers.models.roberta.modeling_roberta import RobertaLMHead, RobertaPreTrainedModel

from genomelm_utils.tokenizers.byte_bpe import EOS, MAX_TOKENS, PAD, VOCAB_SIZE

logger = logging.getLogger(__name__)

POSITIONS = ("corrected", "reference")
FIRST_POSITION = 2  # RoBERTa's tables keep two rows before the first token's
#: What the released configuration leaves at RoBERTa's default although the tokenizer's padding is
#: 2: id 1 is `</s>` (defect B27).
REFERENCE_PAD = 1

#: Preset name -> (fields that differ from `_PUBLISHED`, where they come from).
FLORA_PRESETS: dict[str, tuple[dict[str, float], str]] = {
    "florabert": (
        {},
        "FloraBERT (rs-1927200/v1) and released config.yaml; no other sizes of CornBERT (2020) are "
        "known",
    ),
    "mini": (
        {
            "num_hidden_layers": 2,
            "hidden_size": 128,
            "num_attention_heads": 2,
            "intermediate_size": 512,
        },
        "BERT-tiny proportions (Turc et al. 2019, arXiv:1908.08962), for pretraining on a CPU",
    ),
    "micro": (
        {
            "num_hidden_layers": 2,
            "hidden_size": 64,
            "num_attention_heads": 2,
            "intermediate_size": 256,
        },
        "half of `mini` in width: demonstrations",
    ),
    "nano": (
        {
            "num_hidden_layers": 1,
            "hidden_size": 32,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        },
        "one layer: tests",
    ),
}

# Source: released config.yaml; layer_norm_eps was the default of the transformers version (3.4)
# that it pins.
_PUBLISHED = {
    "num_hidden_layers": 6,
    "hidden_size": 768,
    "num_attention_heads": 6,
    "intermediate_size": 3072,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 1,
    "initializer_range": 0.02,
}


def flora_config(
    name: str = "florabert",
    *,
    vocab_size: int = VOCAB_SIZE,
    max_tokens: int = MAX_TOKENS,
    positions: str = "corrected",
    **changes: float,
) -> RobertaConfig:
    """The configuration of a preset; `positions` and `max_tokens` are kept in it.

    Args:
        name: one of `FLORA_PRESETS`.
        vocab_size: of the tokenizer. max_tokens: ids of the longest row.
        positions: see `position_ids`. 'reference' also keeps the released padding id 1.
        changes: fields to set otherwise, e.g. `hidden_dropout_prob=0.0`. Narrow networks start with
            weights wider by sqrt(768 / width), so that products start as large as in the published.
    Raises: ValueError for an unknown preset, mode, or a width that the heads do not divide.
    """
    if name not in FLORA_PRESETS:
        known = ", ".join(FLORA_PRESETS)
        raise ValueError(f"unknown FloraBERT preset {name!r}, expected one of: {known}")
    _check_mode(positions)
    fields = {**_PUBLISHED, **FLORA_PRESETS[name][0]}
    scale = (_PUBLISHED["hidden_size"] / changes.get("hidden_size", fields["hidden_size"])) ** 0.5
    fields["initializer_range"] = round(_PUBLISHED["initializer_range"] * scale, 4)
    fields |= changes
    if fields["hidden_size"] % fields["num_attention_heads"]:
        raise ValueError(
            f"hidden_size {fields['hidden_size']} is not a multiple of num_attention_heads "
            f"{fields['num_attention_heads']}; change one of them"
        )
    return RobertaConfig(
        vocab_size=vocab_size,
        max_position_embeddings=max_tokens + FIRST_POSITION,
        bos_token_id=0,
        eos_token_id=EOS,
        pad_token_id=PAD if positions == "corrected" else REFERENCE_PAD,
        attn_implementation="sdpa",
        tss_positions=positions,
        **fields,
    )


def position_ids(
    ids_BL: torch.Tensor, max_tokens: int = MAX_TOKENS, positions: str = "corrected"
) -> torch.Tensor:
    """int64[B, L]: the position of every slot of left-padded rows, the same for any width L.

    The rows stand at the right end of `max_tokens` slots; slot i of those has position i + 2, so
    the last has `max_tokens + 1`, `</s>` and padding included (corrected). 'reference' counts, from
    1, the ids other than 1: the same, but `</s>` has position 1, and the last token before it the
    position `max_tokens`.

    ids_BL: int64 ids, padded on the left, at most `max_tokens` wide.
    Source: reference: transformers' `create_position_ids_from_input_ids` with the released
        `pad_token_id` 1 on rows of 256. Raises: ValueError for wider rows or an unknown mode.
    """
    _check_mode(positions)
    n_rows, width = ids_BL.shape
    if width > max_tokens:
        raise ValueError(
            f"rows of {width} ids, expected at most {max_tokens}, the positions of the model; cut "
            "them with the tokenizer"
        )
    if positions == "corrected":
        slots_L = torch.arange(max_tokens - width, max_tokens, device=ids_BL.device)
        return (slots_L + FIRST_POSITION).expand(n_rows, -1)
    counted_BL = (ids_BL != REFERENCE_PAD).long()
    return (counted_BL.cumsum(dim=1) + max_tokens - width) * counted_BL + REFERENCE_PAD


def config_positions(config: RobertaConfig) -> tuple[str, int]:
    """(mode, max_tokens) of a configuration; without ours it is taken for a released one."""
    mode = getattr(config, "tss_positions", None) or "reference"
    return mode, config.max_position_embeddings - FIRST_POSITION


class FloraBertPreTrainedModel(RobertaPreTrainedModel):
    """What the models share: reading weights is never silent."""

    @classmethod
    def from_pretrained(cls, source, *args, output_loading_info: bool = False, **kwargs):
        """As in transformers, but encoder weights that are missing or unknown are an error.

        Only heads and the pooler may come or go.
        """
        model, info = super().from_pretrained(source, *args, output_loading_info=True, **kwargs)
        heads = ("lm_head.", "classifier.", "head.", "pooler.", "roberta.pooler.")
        ours = cls.base_model_prefix + "."
        lost = sorted(k for k in info["missing_keys"] if not k.startswith(heads))
        odd = sorted(k for k in info["unexpected_keys"] if k.startswith((ours, "encoder.")))
        odd = [k for k in odd if not k.startswith(heads) and not k.endswith("position_ids")]
        if lost or odd:
            raise ValueError(
                f"{source}: missing weights {lost[:5]}, unexpected weights {odd[:5]} "
                f"({len(lost)} and {len(odd)} in all); is it the checkpoint of another model?"
            )
        return (model, info) if output_loading_info else model


class FloraBertModel(FloraBertPreTrainedModel, RobertaModel):
    """The encoder: `RobertaModel` that fills in the positions of `position_ids`."""

    def __init__(self, config: RobertaConfig, add_pooling_layer: bool = False) -> None:
        super().__init__(config, add_pooling_layer=add_pooling_layer)
        if config_positions(config)[0] == "corrected":
            # position 2 (the padding id of words) is a position like others, and is learnt
            self.embeddings.position_embeddings.padding_idx = None

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs,
    ):
        """As `RobertaModel`. attention_mask: True or 1 at a row's own ids; needed for padded rows.

        position_ids: by default those of the configuration's mode. With `inputs_embeds` alone the
        mode 'reference' cannot know where `</s>` stands: give `position_ids` or also `input_ids`
        to the function of that name.
        """
        if position_ids is None:
            position_ids = self._positions(input_ids, inputs_embeds)
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )

    def _positions(
        self, ids_BL: torch.Tensor | None, embeds_BLD: torch.Tensor | None
    ) -> torch.Tensor:
        mode, max_tokens = config_positions(self.config)
        if ids_BL is None and embeds_BLD is not None:
            if mode == "reference":
                raise ValueError(
                    "inputs_embeds without position_ids, expected position_ids as well: the "
                    "reference positions depend on the ids (models.florabert.position_ids)"
                )
            ids_BL = torch.empty(embeds_BLD.shape[:2], dtype=torch.long, device=embeds_BLD.device)
        if ids_BL is None:
            raise ValueError("neither input_ids nor inputs_embeds, expected one of them")
        return position_ids(ids_BL, max_tokens, mode)


class FloraBertForMaskedLM(FloraBertPreTrainedModel):
    """Encoder and RoBERTa's masked-language-model head, decoder tied to the word embeddings."""

    _tied_weights_keys = {
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    }

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = FloraBertModel(config)
        self.lm_head = RobertaLMHead(config)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head.decoder

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.lm_head.decoder = value

    def predict_at(
        self, ids_BL: torch.Tensor, mask_BL: torch.Tensor, positions_N: torch.Tensor
    ) -> torch.Tensor:
        """Logits [N, V] at places of the flattened batch: the head runs on no other."""
        hidden_BLD = self.roberta(ids_BL, attention_mask=mask_BL).last_hidden_state
        return self.lm_head(hidden_BLD.flatten(0, 1).index_select(0, positions_N))

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs,
    ) -> MaskedLMOutput:
        """`logits` [B, L, V]; with labels (-100 = not asked) also `loss`, the mean over the others.

        In training `predict_at` is the fast way.
        """
        outputs = self.roberta(
            input_ids, attention_mask=attention_mask, position_ids=position_ids, **kwargs
        )
        logits_BLV = self.lm_head(outputs.last_hidden_state)
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits_BLV.float().flatten(0, 1), labels.flatten())
        return MaskedLMOutput(loss=loss, logits=logits_BLV, hidden_states=outputs.hidden_states)


def build_flora_mlm(config: RobertaConfig, seed: int = 0) -> FloraBertForMaskedLM:
    """A randomly initialised masked language model on the CPU, the same for the same seed.

    torch's own random state is left as it was found.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return FloraBertForMaskedLM(config)


def load_florabert(
    folder: str | Path, part: str = "encoder"
) -> FloraBertModel | FloraBertForMaskedLM:
    """The encoder or the masked language model in a folder, on the CPU in evaluation mode.

    Ours, or a released one: without our field `tss_positions` in config.json the positions are
    the released ones, and the log says so. Nothing is downloaded.

    part: 'encoder' (a masked language model's head is left out) or 'masked_lm'.
    Raises: FileNotFoundError without config.json; ValueError for another architecture or part.
    """
    parts = {"encoder": FloraBertModel, "masked_lm": FloraBertForMaskedLM}
    if part not in parts:
        raise ValueError(f"part is {part!r}, expected one of: {', '.join(parts)}")
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; expected the folder of a FloraBERT model: config.json and "
            "model.safetensors"
        )
    kind = RobertaConfig.get_config_dict(str(folder))[0].get("model_type")
    if kind != "roberta":
        raise ValueError(f"{path} describes a model of type {kind!r}, expected 'roberta'")
    config = RobertaConfig.from_pretrained(folder)
    if getattr(config, "tss_positions", None) is None:
        logger.info("%s has no tss_positions: taken for a released model, 'reference'", path)
    return parts[part].from_pretrained(folder, attn_implementation="sdpa").eval()


def count_parameters(config: RobertaConfig, *, head: bool = True) -> int:
    """Parameters of the encoder with its pooler left out, and of the tied head, from sizes alone.

    46,571,520 and 47,168,653 at 5005 ids and 256 tokens. Source: RoBERTa (arXiv:1907.11692).
    """
    width, wide = config.hidden_size, config.intermediate_size
    dense, norm = width * width + width, 2 * width
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    layer = 4 * dense + (width * wide + wide) + (wide * width + width) + 2 * norm
    encoder = rows * width + norm + config.num_hidden_layers * layer
    return encoder + (dense + norm + config.vocab_size if head else 0)


def _check_mode(positions: str) -> None:
    if positions not in POSITIONS:
        raise ValueError(f"positions is {positions!r}, expected one of: {', '.join(POSITIONS)}")
