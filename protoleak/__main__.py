"""`python -m protoleak` is the same as `protoleak`."""

import sys

from protoleak.cli import main

sys.exit(main())
