"""``python -m gigq``."""

import sys

from gigq.cli import main

if __name__ == "__main__":
    sys.exit(main())
