"""`python -m protoleak` is the same as `protoleak`."""

import sys

from protoleak.cli.app import main

sys.exit(main())
