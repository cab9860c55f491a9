"""The page of a discovery: a contact sheet of each cluster, in one HTML file."""

from __future__ import annotations

from html import escape
from pathlib import Path

from protoleak.discovery.records import Discovery, FoundCluster
from protoleak.images.thumbnail import thumbnail_uri
from protoleak.reports.page import bullets, facts_table, page

SHOWN, SIDE, QUALITY = 24, 120, 75
STYLE = """
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(110px, 1fr)); gap: .4rem; margin: .6rem 0; }
.sheet img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 3px; background: var(--raised); }
.warning { color: var(--bad); font-weight: 600; }
"""


def clusters_page(discovery: Discovery, bundle: str) -> str:
    """The whole file.

    Args:
        bundle: its name.
    """
    facts = [
        ("bundle", f"{bundle}, SHA-256 {discovery.bundle}"),
        ("images", f"{discovery.images} that can be judged, {discovery.unknown} of them called unknown"),
        ("clusters", f"{len(discovery.clusters)}; {discovery.lone} unknown images belong to none"),
    ]
    if discovery.left_out:
        facts.append(("left out", f"{discovery.left_out} unknown images: an even share was clustered"))
    sections = ["<h1>What nobody knows yet</h1>", facts_table(facts)]
    sections += [_section(cluster) for cluster in discovery.clusters]
    if discovery.skipped:
        sections += ["<h2>Skipped</h2>", bullets(discovery.skipped)]
    return page("What nobody knows yet", sections, STYLE)


def _section(cluster: FoundCluster) -> str:
    nearest = ", ".join(f"{name} {share:.0%}" for name, share in cluster.nearest.items())
    facts = [
        ("images", str(len(cluster.images))),
        ("stability", f"{cluster.stability:.2f} (of 1; below 0.5 look twice)"),
        ("nearest classes", nearest),
        ("files written", f"{cluster.first} to {cluster.last}"),
    ]
    if cluster.like_cameras is not None:
        facts.append(("like camera originals", f"{cluster.like_cameras:.0%} of the images, by their margin"))
    if cluster.neighbours_cameras is not None:
        facts.append(("next to camera originals", f"{cluster.neighbours_cameras:.0%} of the recorded neighbours"))
    warning = ""
    if cluster.near_cameras:
        warning = (
            '<p class="warning">Near camera originals: these may be photographs. Enrolling them needs --force.</p>'
        )
    images = "".join(_image(Path(file)) for file in cluster.images[:SHOWN])
    more = len(cluster.images) - SHOWN
    rest = f'<p class="weak">and {more} more</p>' if more > 0 else ""
    return f'<h2>Cluster {cluster.number}</h2>{warning}{facts_table(facts)}<div class="sheet">{images}</div>{rest}'


def _image(file: Path) -> str:
    """A thumbnail; nothing for a file that can't be read any more."""
    if (uri := thumbnail_uri(file, 2 * SIDE, QUALITY)) is None:
        return ""
    return f'<img alt="{escape(file.name)}" title="{escape(file.name)}" src="{uri}">'
