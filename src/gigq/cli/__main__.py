"""``python -m gigq.cli``."""

import sys

from gigq.cli import main

if __name__ == "__main__":
    sys.exit(main())
