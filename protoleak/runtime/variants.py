"""Which variant of a bundle is used."""

from __future__ import annotations

from protoleak.errors import BundleError
from protoleak.manifest import Manifest


def choose_variant(manifest: Manifest, name: str | None) -> tuple[str, str]:
    """The variant for a name given by a user, and why.

    Args:
        name: one of the manifest's, or None or "auto" for the first that it lists.

    Raises:
        BundleError: the bundle has no such variant.
    """
    if name in (None, "auto"):
        return manifest.variants[0], "it stands first in the bundle's manifest, which is the exporter's choice"
    if name not in manifest.variants:
        has = ", ".join(manifest.variants)
        raise BundleError(f"the bundle {manifest.name} has no variant {name!r}, only {has}: choose one or export it")
    return str(name), "it was asked for by name"
