"""`python -m protoleak` is the same as `protoleak`."""

from protoleak.cli.app import run_process

run_process()
