"""BERT sizes by name: the published ones with their sources, and small ones for a CPU.

All are `transformers.BertConfig`s over DNABERT's vocabulary (5 special tokens, then the 4^k
k-mers), with attention through `scaled_dot_product_attention`.
"""

import torch
from transformers import BertConfig, BertForMaskedLM

from genomelm_utils.tokenizers.kmer import MAX_IDS, MAX_K, N_SPECIAL, PAD, vocab_size

DEFAULT_K = 6  # Source: GeneMask pretrains on 6-mers only

_DNABERT = {
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
_LOGO = {
    "num_hidden_layers": 2,
    "hidden_size": 256,
    "num_attention_heads": 8,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}

# `initializer_range` of the small ones is 0.02 x sqrt(768 / width): products start as large as in
# BERT base. With 0.02 a narrow network spends most of a short training on getting there.

#: Preset name -> (fields that differ from `BertConfig`'s defaults, where they come from).
#: `k` is given only where the preset fixes it.
PRESETS: dict[str, tuple[dict[str, float], str]] = {
    **{
        f"dnabert{k}": ({**_DNABERT, "k": k}, f"DNABERT-{k}, config.json (BERT base, dropout 0.1)")
        for k in (3, 4, 5, 6)
    },
    "genemask-logo": (
        {**_LOGO, "intermediate_size": 3072},
        "GeneMask's 'LOGO' configuration (Code-E): feed-forward 3072, twelve times the width",
    ),
    "logo": (
        {**_LOGO, "intermediate_size": 1024},
        "LOGO's own code: feed-forward 4 x width = 1024; without its factorised embedding (128)",
    ),
    "mini": (
        {
            "num_hidden_layers": 2,
            "hidden_size": 128,
            "num_attention_heads": 2,
            "intermediate_size": 512,
            "initializer_range": 0.05,
        },
        "BERT-tiny proportions (Turc et al. 2019, arXiv:1908.08962), for pretraining on a CPU",
    ),
    "micro": (
        {
            "num_hidden_layers": 2,
            "hidden_size": 64,
            "num_attention_heads": 2,
            "intermediate_size": 256,
            "initializer_range": 0.07,
        },
        "half of `mini` in width: demonstrations and tests",
    ),
}


def k_of_vocab(size: int) -> int:
    """The k whose k-mer vocabulary has `size` tokens; ValueError when there is none."""
    for k in range(1, MAX_K + 1):
        if vocab_size(k) == size:
            return k
    fitting = ", ".join(f"{vocab_size(k)} (k={k})" for k in range(3, MAX_K + 1))
    raise ValueError(
        f"a vocabulary of {size} tokens is no k-mer vocabulary: expected 4^k + {N_SPECIAL}, such "
        f"as {fitting}; is this the checkpoint of another tokenizer?"
    )


def bert_config(name: str, k: int | None = None, **changes: float) -> BertConfig:
    """The configuration of a preset.

    Args:
        name: one of `PRESETS`.
        k: k-mer length; presets that fix it (`dnabert3`..`dnabert6`) take no other; default 6.
        changes: `BertConfig` fields to set otherwise, e.g. `hidden_dropout_prob=0.0`.
    Raises: ValueError for an unknown preset, or a k that contradicts it.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown model preset {name!r}, expected one of: {', '.join(PRESETS)}")
    fields = dict(PRESETS[name][0])
    fixed_k = fields.pop("k", None)
    if fixed_k is not None and k not in (None, fixed_k):
        raise ValueError(
            f"preset {name!r} is for k = {fixed_k}, found k = {k}; use preset 'dnabert{k}' or k = "
            f"{fixed_k}"
        )
    shape = {"max_position_embeddings": MAX_IDS, **fields, **changes}
    return BertConfig(
        vocab_size=vocab_size(int(fixed_k or k or DEFAULT_K)),
        pad_token_id=PAD,
        attn_implementation="sdpa",
        **shape,
    )


def build_masked_lm(
    preset: str, k: int | None = None, seed: int = 0, **changes: float
) -> BertForMaskedLM:
    """A randomly initialised masked language model on the CPU, the same for the same seed.

    torch's own random state is left as it was found.
    """
    config = bert_config(preset, k, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return BertForMaskedLM(config)


def count_parameters(config: BertConfig, *, pooler: bool = False) -> int:
    """Parameters of a BERT masked language model with a tied decoder, from its sizes alone.

    Published counts include the pooler, which `BertForMaskedLM` of transformers no longer has:
    89,787,141 for DNABERT-6 with it, 89,196,549 without. Source: BERT, arXiv:1810.04805.
    """
    width, wide = config.hidden_size, config.intermediate_size
    norm = 2 * width
    dense = width * width + width
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    layer = 4 * dense + (width * wide + wide) + (wide * width + width) + 2 * norm
    head = dense + norm + config.vocab_size
    encoder = rows * width + norm + config.num_hidden_layers * layer
    return encoder + head + (dense if pooler else 0)
