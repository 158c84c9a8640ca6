"""Embedding a file needs no more memory when the file is ten times as large.

The network is replaced by one row of numbers per record: what is measured is reading, looking ahead
and writing. That its batches are bounded is tested with `embedding_batches`.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from genomelm_utils.sequences.fasta import write_fasta

STATUS = Path("/proc/self/status")
BLOCK_BASES, CONTIG_BP, WIDTH = 400_000, 500, 512
SMALL_BP, LARGE_BP = 2_000_000, 20_000_000  # 8 and 78 MiB of embeddings
MARGIN_MIB = 24  # of peaks; all of the large file at once is above twice that
CODE = """
import sys
from pathlib import Path
import numpy as np
from genomelm_utils.models.alibi_bert import AlibiBertModel, alibi_config
from genomelm_utils.tasks import embedding_files
from genomelm_utils.tokenizers.bpe import train_bpe

width = int(sys.argv[4])

def embed(model, tokenizer, codes, **options):
    return np.full((len(codes), width), len(codes), dtype=np.float32)

embedding_files.embed = embed
sizes = {"hidden_size": width, "num_attention_heads": 2, "intermediate_size": 16}
model = AlibiBertModel(alibi_config("micro", vocab_size=40, num_hidden_layers=1, **sizes)).eval()
tokenizer = train_bpe(["ACGTTGCAACCGGT" * 20] * 2, 12)
blocks = {"block_bases": int(sys.argv[3]), "block_records": 1 << 30}
done = embedding_files.embed_file(*sys.argv[1:3], model, tokenizer, progress=False, **blocks)
lines = Path("/proc/self/status").read_text().splitlines()
print(done.n_bases, next(line for line in lines if line.startswith("VmHWM")).split()[1])
"""


def peak_mib(folder: Path, n_bases: int, block_bases: int = BLOCK_BASES) -> float:
    """Peak memory of a process that embeds a file of so many bases."""
    rng = np.random.default_rng(1)
    n = n_bases // CONTIG_BP
    codes = list(rng.integers(0, 4, (n, CONTIG_BP), dtype=np.uint8))
    path = folder / f"{n_bases}.fa"
    write_fasta(path, [f"c{i}" for i in range(n)], codes)
    command = [sys.executable, "-c", CODE, path, folder / f"{n_bases}.npy", str(block_bases)]
    command.append(str(WIDTH))
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(out[0]) == n_bases
    return int(out[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.is_file(), reason="peak memory is read from /proc/self/status")
def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    small, large = peak_mib(tmp_path, SMALL_BP), peak_mib(tmp_path, LARGE_BP)
    assert abs(large - small) < MARGIN_MIB
    whole = peak_mib(tmp_path, LARGE_BP, block_bases=LARGE_BP)  # what is bounded, is so by blocks
    assert whole - small > 2 * MARGIN_MIB
