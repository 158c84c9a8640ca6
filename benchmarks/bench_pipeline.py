"""How long `plan` and a second `run` take, beside what they save: executing the notebooks again.

    .venv/bin/python benchmarks/bench_pipeline.py [--profile demo] [--rounds 5]

The profile must be up to date (`make run`). "Again" is the sum of the wall times in its receipts:
what anyone without receipts, papermill alone for example, pays each time.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import write_result

from genomelm_utils.pipeline.receipts import read_receipts

ROOT = Path(__file__).resolve().parent.parent


def time_command(*words: str) -> float:
    """Seconds of wall time of `run_all.py` with these words; fails loudly when it does."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, ROOT / "run_all.py", *words], capture_output=True, text=True, check=False
    )
    wall_s = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"run_all.py {' '.join(words)} failed:\n{done.stderr}{done.stdout}")
    if words[0] == "run" and "up to date" not in done.stdout:
        raise SystemExit(
            f"the profile was not up to date: make run first, then again\n{done.stdout}"
        )
    return wall_s


def main() -> None:
    """Times both commands, prints them beside the cost of executing everything again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    receipts = read_receipts(asked.profile)
    again_s = sum(receipt.wall_s for receipt in receipts.values())
    rows = []
    for what, words in (("plan", ["plan"]), ("second run", ["run"])):
        walls = [time_command(*words, "--profile", asked.profile) for _ in range(asked.rounds)]
        rows.append(
            {
                "what": what,
                "median_s": round(statistics.median(walls), 2),
                "min_s": round(min(walls), 2),
                "runs": len(receipts),
                "executing_again_s": round(again_s, 1),
                "times_less": round(again_s / statistics.median(walls)),
            }
        )
        print(rows[-1])
    write_result("pipeline", rows)


if __name__ == "__main__":
    main()
