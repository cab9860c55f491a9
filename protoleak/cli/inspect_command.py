"""`protoleak inspect`: what a bundle is, how it was made and what was measured of it. See inspect_bundle.py."""

from __future__ import annotations

from typing import Annotated, Optional

import typer


def inspect(
    bundle: Annotated[
        Optional[str],  # noqa: UP045 Typer evaluates this on Python 3.10 too
        typer.Argument(help="Bundle directory or .zip; left out, the one that comes with protoleak."),
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Significance level: share of known images that may be called unknown.")
    ] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show what a bundle is, how it was made and what was measured of it. Checks every hash."""
    from protoleak.cli.inspect import run

    raise typer.Exit(run(bundle, alpha, as_json))
