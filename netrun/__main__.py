"""``python -m netrun CONFIG.json``: one instance."""

import sys

from models.packages import cannot_load

if __name__ == "__main__":
    try:
        from netrun.worker import main
    except (ImportError, OSError) as error:
        if (reason := cannot_load(error)) is None:
            raise
        print(f"netrun: error: {reason}", file=sys.stderr)
        sys.exit(4)
    sys.exit(main(sys.argv[1:]))
