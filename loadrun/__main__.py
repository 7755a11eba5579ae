"""`python -m loadrun CONFIG.json`: one LoadGen test over the rings."""

import sys

from models.packages import cannot_load

if __name__ == "__main__":
    try:
        from loadrun.process import main
    except (ImportError, OSError) as error:
        if (reason := cannot_load(error)) is None:
            raise
        print(f"loadrun: error: {reason}", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1:]))
