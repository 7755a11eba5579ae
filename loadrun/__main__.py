"""`python -m loadrun CONFIG.json`: one LoadGen test over the rings."""

import sys

from loadrun.process import main

sys.exit(main(sys.argv[1:]))
