"""Run, plan, check and report the pipeline: `python run_all.py --help`."""

import sys

from genomelm_utils.pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
