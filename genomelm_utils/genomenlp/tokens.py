"""Verbs about vocabularies: how long their tokens are."""

import argparse
from pathlib import Path

from genomelm_utils.genomenlp.options import PROGRAM, add_out

EXAMPLES = {
    "parse_sp_tokens": """examples:
  {program} parse_sp_tokens tokeniser.json -o lengths.tsv""",
}


def add_parse_sp_tokens(parser: argparse.ArgumentParser) -> None:
    """Options of `parse_sp_tokens`."""
    parser.add_argument("tokeniser_path", type=Path, help="a unigram tokenizer (JSON)")
    add_out(parser, ("-o", "--outfile"), "a table [token_lengths.tsv]", default="token_lengths.tsv")


def parse_sp_tokens(given: argparse.Namespace) -> list[str]:
    """Tokens of every length, without `▁` and special tokens."""
    from genomelm_utils.command_outputs import check_outputs, open_output
    from genomelm_utils.tokenizers.unigram import count_token_lengths, read_tokens

    check_outputs(given)
    table = count_token_lengths(read_tokens(given.tokeniser_path))
    with open_output(given.out) as output:
        output.write_table(table)
        output.write_settings(given, PROGRAM)
    return [f"{given.out}: {table['n_tokens'].sum()} tokens, {len(table)} lengths"]
