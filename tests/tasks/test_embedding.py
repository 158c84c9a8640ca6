import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel

from genomelm_utils.models.alibi_bert import AlibiBertForMaskedLM, AlibiBertModel, alibi_config
from genomelm_utils.sequences.alphabet import CODE_N, decode, encode, reverse_complement
from genomelm_utils.tasks.embedding import embed, embedding_recipe
from genomelm_utils.tasks.embedding_padded import embed_padded, padded_states
from genomelm_utils.tokenizers.bpe import pad_batch, tokenize_codes, train_bpe
from genomelm_utils.tokenizers.kmer import build_tokenizer, encode_sequences, vocab_size

VOCAB = 64


@pytest.fixture(scope="module")
def tokenizer():
    rng = np.random.default_rng(0)
    return train_bpe([decode(rng.integers(0, 4, 800, dtype=np.uint8)) for _ in range(40)], VOCAB)


def make_alibi(kind=AlibiBertModel, seed=0):
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 32}
    return kind(alibi_config("micro", vocab_size=VOCAB, **sizes)).eval()


def make_bert(k, positions=64):
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = BertConfig(
        vocab_size=vocab_size(k), intermediate_size=32, max_position_embeddings=positions, **sizes
    )
    return BertForMaskedLM(config).eval()


@pytest.fixture(scope="module")
def model():
    return make_alibi()


@pytest.fixture
def contigs(rng):
    return [rng.integers(0, 4, n, dtype=np.uint8) for n in rng.integers(3, 500, 30)]


@pytest.mark.parametrize("token_budget", [1, 40, 300, 100_000])
def test_budget_batches_one_by_one_and_padded_agree(model, tokenizer, contigs, token_budget):
    values = embed(model, tokenizer, contigs, token_budget=token_budget)
    alone = np.concatenate([embed(model, tokenizer, [one]) for one in contigs])
    assert values.dtype == np.float32 and values.shape == (30, 32)
    assert np.abs(values - alone).max() < 1e-5
    for order in ("sorted", "given"):
        padded = embed_padded(model, tokenizer, contigs, batch_size=7, order=order)
        assert np.abs(values - padded).max() < 1e-5


def test_padded_states_are_those_of_the_packed_encoder(model, tokenizer, contigs):
    ids_BL, mask_BL = pad_batch(tokenize_codes(tokenizer, contigs))
    with torch.no_grad():
        packed = model.encode(ids_BL, mask_BL)[0][mask_BL]
        dense = padded_states(model, ids_BL, mask_BL)[mask_BL]
    assert (packed - dense).abs().max() < 1e-5


def test_it_is_the_mean_over_all_tokens_with_cls_and_sep(model, tokenizer):
    codes = encode("ACGTTGCAACGGT")
    ids = torch.from_numpy(tokenize_codes(tokenizer, [codes])[0]).long()[None]
    with torch.no_grad():
        expected = model(ids, torch.ones_like(ids)).last_hidden_state[0].mean(0)
    assert np.allclose(embed(model, tokenizer, [codes])[0], expected, atol=1e-6)


def test_a_masked_lm_gives_the_states_of_its_encoder_not_its_logits(tokenizer, contigs):
    lm = make_alibi(AlibiBertForMaskedLM)
    values = embed(lm, tokenizer, contigs)
    assert values.shape == (30, 32)
    assert np.array_equal(values, embed(lm.bert, tokenizer, contigs))


@pytest.mark.parametrize(("length", "spans"), [(100, [(0, 100)]), (101, [(0, 100), (100, 101)])])
def test_windows_are_averaged_by_their_length(model, tokenizer, rng, length, spans):
    codes = rng.integers(0, 4, length, dtype=np.uint8)
    pieces = embed(model, tokenizer, [codes[begin:end] for begin, end in spans])
    weights = np.array([end - begin for begin, end in spans]) / length
    values = embed(model, tokenizer, [codes], window_bp=100)
    assert np.allclose(values[0], weights @ pieces, atol=1e-6)


def test_windows_weigh_by_definite_bases_and_gaps_weigh_nothing(model, tokenizer, rng):
    left, right = rng.integers(0, 4, (2, 50), dtype=np.uint8)
    gap = np.full(150, CODE_N, np.uint8)
    pieces = embed(model, tokenizer, [left, np.append(gap[:10], right[:40]), right[40:]])
    whole = np.concatenate([left, gap, gap[:10], right])
    values = embed(model, tokenizer, [whole], window_bp=50)
    assert np.allclose(values[0], np.array([50, 40, 10]) / 100 @ pieces, atol=1e-6)


@pytest.mark.parametrize("overlap", [0.0, 0.3])
def test_both_strands_make_strand_not_matter(model, tokenizer, contigs, overlap):
    other = [reverse_complement(one) for one in contigs]
    options = {"window_bp": 120, "overlap": overlap}
    both = embed(model, tokenizer, contigs, strands="both", **options)
    assert np.abs(both - embed(model, tokenizer, other, strands="both", **options)).max() < 1e-5
    forward, backward = (embed(model, tokenizer, x, **options) for x in (contigs, other))
    assert np.abs(forward - backward).max() > 1e-3
    assert np.abs(both - (forward + backward) / 2).max() < 1e-5


def test_max_tokens_divides_rows_and_loses_nothing(model, tokenizer, rng):
    codes = rng.integers(0, 4, 300, dtype=np.uint8)
    ids = tokenize_codes(tokenizer, [codes])[0]
    parts = np.array_split(ids[1:-1], -(-(len(ids) - 2) // 18))
    rows = [np.concatenate([ids[:1], part, ids[-1:]]) for part in parts]
    ids_BL, mask_BL = pad_batch(rows)
    with torch.no_grad():
        means = [h[m].mean(0).numpy() for h, m in zip(*model.encode(ids_BL, mask_BL), strict=True)]
    expected = np.average(means, axis=0, weights=[len(part) for part in parts])
    values = embed(model, tokenizer, [codes, codes[:20]], max_tokens=20)
    assert np.allclose(values[0], expected, atol=1e-6)
    assert np.allclose(values[1], embed(model, tokenizer, [codes[:20]])[0], atol=1e-6)


def test_kmer_models_are_embedded_too_within_their_positions(rng):
    lm, words = make_bert(3), build_tokenizer(3)
    contigs = [rng.integers(0, 4, n, dtype=np.uint8) for n in (3, 30, 64)]
    values = embed(lm, words, contigs, token_budget=100)
    ids, lengths = encode_sequences(contigs, 3)
    with torch.no_grad():
        for row, n, value in zip(ids, lengths.tolist(), values, strict=True):
            expected = lm.bert(row[None, :n]).last_hidden_state[0].mean(0)
            assert np.allclose(value, expected, atol=1e-5)
    assert embedding_recipe(lm, words).max_tokens == 64
    assert np.isfinite(embed(lm, words, [rng.integers(0, 4, 1000, dtype=np.uint8)])).all()


def test_ambiguous_bases_are_tokens_or_not(model, tokenizer):
    plain, gapped = encode("ACGTTGCAACGGT"), encode("ACGTTGCNNNAACGGT")
    unk, skip = (embed(model, tokenizer, [gapped, plain], ambiguous=how) for how in ("unk", "skip"))
    assert np.array_equal(unk[1], skip[1])
    assert np.abs(unk[0] - skip[0]).max() > 1e-3


def test_the_model_is_left_as_it_was(tokenizer, contigs):
    model = make_alibi().train()
    before = torch.get_rng_state()
    first, second = (embed(model, tokenizer, contigs) for _ in range(2))
    assert model.training and model.device.type == "cpu"
    assert np.array_equal(first, second)  # no dropout
    assert torch.equal(before, torch.get_rng_state())
    assert all(p.grad is None and not p.is_inference() for p in model.parameters())


def test_bf16_is_close_but_not_the_same(model, tokenizer, contigs):
    exact, rounded = (embed(model, tokenizer, contigs, dtype=dtype) for dtype in ("fp32", "bf16"))
    assert 0 < np.abs(exact - rounded).max() < 0.1
    assert rounded.dtype == np.float32


def test_nothing_in_nothing_out(model, tokenizer):
    assert embed(model, tokenizer, []).shape == (0, 32)
    assert embed_padded(model, tokenizer, []).shape == (0, 32)


def test_a_bar_counts_every_base_once(model, tokenizer, contigs):
    class Bar:
        n = 0

        def update(self, n):
            self.n += n

    bar = Bar()
    options = {"window_bp": 50, "overlap": 0.5, "strands": "both"}
    embed(model, tokenizer, contigs, progress=bar, **options)
    assert round(bar.n) == sum(len(one) for one in contigs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_bp": 0}, "window_bp is 0"),
        ({"overlap": 0.6}, r"overlap is 0\.6, expected a share"),
        ({"strands": "reverse"}, "strands is 'reverse', expected forward or both"),
        ({"ambiguous": "drop"}, "ambiguous is 'drop', expected unk or skip"),
        ({"max_tokens": 2}, "max_tokens is 2, no room"),
        ({"dtype": "int8"}, "unknown precision 'int8'"),
    ],
)
def test_arguments_out_of_range_are_errors(model, tokenizer, options, message):
    with pytest.raises(ValueError, match=message):
        embed(model, tokenizer, [encode("ACGT")], **options)


@pytest.mark.parametrize("bad", ["", "NNNN"])
def test_empty_and_n_only_sequences_are_errors_that_name_them(model, tokenizer, bad):
    with pytest.raises(ValueError, match=r"sequence 1 \(0-based\) of \d bases has no A, C, G or T"):
        embed(model, tokenizer, [encode("ACGT"), encode(bad)])


def test_an_error_inside_comes_out_and_ends_the_threads(tokenizer, contigs):
    model = make_alibi()
    model.embeddings.word_embeddings = torch.nn.Embedding(8, 32)  # too few tokens
    with pytest.raises(IndexError):
        embed(model, tokenizer, contigs, token_budget=50)


def test_the_tokenizer_of_plain_bert_is_not_taken_for_one_of_dna(contigs):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {"[PAD]": 0, "[UNK]": 1, "hello": 2}
    backend = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    plain = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]")
    with pytest.raises(ValueError, match="expected one that reads plain upper-case DNA"):
        embed(BertModel(make_bert(1).config), plain, contigs)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_the_same_numbers_as_on_the_cpu(model, tokenizer, contigs):
    here = embed(model, tokenizer, contigs)
    there = embed(model, tokenizer, contigs, device="cuda", dtype="fp32", token_budget=500)
    assert np.abs(here - there).max() < 1e-4
    assert model.device.type == "cpu"
    rounded = embed(model, tokenizer, contigs, device="cuda")
    assert np.abs(here - rounded).max() < 0.1
