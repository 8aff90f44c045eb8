"""`python -m auformer` is `auformer`."""

from __future__ import annotations

import sys

from auformer.cli import main

if __name__ == "__main__":
    sys.exit(main())
