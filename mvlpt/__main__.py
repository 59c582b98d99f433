"""`python -m mvlpt` is the command `mvlpt`."""

import sys

from mvlpt.cli import main

sys.exit(main())
