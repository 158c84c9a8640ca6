"""Sizes of ALiBi BERT, DNABERT-2's and DNABERT-S's architecture, by name."""

from transformers import PretrainedConfig

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
    "nano": {
        "num_hidden_layers": 1,
        "hidden_size": 128,
        "num_attention_heads": 4,
        "intermediate_size": 256,
    },
    "pico": {
        "num_hidden_layers": 1,
        "hidden_size": 64,
        "num_attention_heads": 1,
        "intermediate_size": 128,
    },
}


def alibi_config(name: str, **changes: float) -> AlibiBertConfig:
    """The configuration of a preset: `dnabert-s` as published, the others for a CPU.

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
