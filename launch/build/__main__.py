"""``python -m launch.build CONFIG.json RESULT.json``, see launch.build.child."""

import sys

from launch.build.child import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
