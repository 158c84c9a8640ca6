"""What `python -m genomelm_utils.species` starts."""

import signal
import sys

from genomelm_utils.species.main import main

signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cancelled job tidies up, too
sys.exit(main())
