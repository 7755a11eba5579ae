"""``python -m netrun CONFIG.json``: one instance."""

import sys

from netrun.worker import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
