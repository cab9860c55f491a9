"""Which variant of a bundle is used."""

from __future__ import annotations

from protoleak.bundle.manifest import Manifest
from protoleak.errors import BundleError


def choose_variant(manifest: Manifest, name: str | None, engine: str | None = None) -> tuple[str, str]:
    """The variant for a name given by a user, and why.

    Args:
        name: one of the manifest's, or None or "auto" for the fastest in the engine, as the exporter measured it (every
            variant in a bundle has passed the gate); for the first that the manifest lists where that engine was not
            measured.
        engine: that will run it.

    Raises:
        BundleError: the bundle has no such variant.
    """
    if name in (None, "auto"):
        speeds = (manifest.speeds or {}).get(engine or "", {})
        if not speeds:
            where = f"no speeds in {engine}" if engine and len(manifest.variants) > 1 else "no choice"
            return manifest.variants[0], f"it stands first in the bundle's manifest, which holds {where}"
        fastest = min(speeds, key=lambda variant: speeds[variant])
        listed = ", ".join(f"{variant} {spent:.3g} ms" for variant, spent in speeds.items())
        return fastest, f"it was the fastest in {engine} where the bundle was exported ({listed})"
    if name not in manifest.variants:
        has = ", ".join(manifest.variants)
        raise BundleError(f"the bundle {manifest.name} has no variant {name!r}, only {has}: choose one or export it")
    return str(name), "it was asked for by name"
