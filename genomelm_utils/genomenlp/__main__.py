"""What `python -m genomelm_utils.genomenlp` starts."""

import signal
import sys

from genomelm_utils.genomenlp.main import main

signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cancelled job tidies up, too
sys.exit(main())
