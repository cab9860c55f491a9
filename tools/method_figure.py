"""Draws docs/images/method.svg: the method on one image, with planes and numbers as the default bundle gives them.

    python tools/method_figure.py [IMAGE]

From left to right: the image, one channel of its latent, the same channel noised at each of three timesteps (and its
low-frequency part, where the bundle has one), the weights of the temporal attention, the distances to the prototypes,
the log densities of the calibration images, and the verdict.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, its own folder is there instead

import protoleak  # noqa: E402
from protoleak.arrays import Array, UInt8Array  # noqa: E402
from protoleak.images.open import open_image  # noqa: E402
from protoleak.reports.svg import colour  # noqa: E402
from protoleak.runtime.engines import EngineOptions  # noqa: E402
from protoleak.runtime.executors import Graphs, open_executor  # noqa: E402
from protoleak.runtime.noising import Noising  # noqa: E402

OUT = ROOT / "docs" / "images" / "method.svg"
EXAMPLE = ROOT / "examples" / "images" / "stable_diffusion_3.jpg"
WIDTH, HEIGHT = 1300, 330
PLANE, STEP, TOP = 72, 86, 40  # pixels: a plane's side, from one to the next below, and above the first
MIDDLE = TOP + STEP + PLANE / 2
SHOWN_TIMESTEPS = 3
INK, WEAK, MARK = "#1b1f24", "#5c6670", "#b3261e"
STYLE = f"""
text {{ font: 13px system-ui, sans-serif; fill: {INK}; }}
.weak {{ fill: {WEAK}; font-size: 12px; }} .small {{ font-size: 11px; }} .bold {{ font-weight: 600; }}
.centre {{ text-anchor: middle; }} .end {{ text-anchor: end; }} image {{ image-rendering: pixelated; }}
.flow {{ stroke: {WEAK}; stroke-width: 1.5; fill: none; marker-end: url(#tip); }}
"""
TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    f'<path d="M0 0L8 4L0 8z" fill="{WEAK}"/></marker>'
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path, nargs="?", default=EXAMPLE)
    path = parser.parse_args().image
    bundle = protoleak.Bundle.load()
    with protoleak.load(bundle.path, variant="fp32", engine="onnxruntime") as screener:
        verdict = screener(path)[0]
        pixels = screener.frame(open_image(path, path.name, upright=screener.framing.upright).image).pixels
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(figure(bundle, verdict, pixels[0], stages_of(bundle, pixels)), encoding="utf-8")
    print(f"wrote {OUT.relative_to(ROOT)}, {OUT.stat().st_size:,} bytes")


def stages_of(bundle: protoleak.Bundle, pixels: UInt8Array) -> dict[str, Array]:
    """Every tensor between the looks uint8 [L, S, S, 3] and the decision, of the first look where there is one each."""
    graphs = Graphs.of_variant(bundle.variant("fp32"))
    executor = open_executor(
        *("onnxruntime", graphs, bundle.manifest, bundle.noise_bank),
        location=bundle.path,
        options=EngineOptions(),
        threads=None,
    )
    try:
        return {name: values[0] for name, values in executor.run(pixels, stages=True).stages.items()}
    finally:
        executor.close()


def figure(bundle: protoleak.Bundle, verdict: protoleak.Verdict, pixels: UInt8Array, stages: dict[str, Array]) -> str:
    """The SVG file's text."""
    manifest = bundle.manifest
    channels = manifest.latent_shape[0]
    channel = int(np.argmax(stages["z0"].std(axis=(1, 2))))  # the one in which most is to be seen
    timesteps = manifest.timesteps[:SHOWN_TIMESTEPS]
    side, height, width = manifest.preprocessing.image_size, *manifest.latent_shape[1:]
    parts = [
        plane(10, MIDDLE - 55, 110, pixels),
        *label(65, "image", f"{side} × {side} pixels"),
        flow(126, 176),
        *note(150, "encoder"),
        plane(182, MIDDLE - PLANE / 2, PLANE, grey(stages["z0"][channel])),
        *label(218, "latent z₀", f"{channels} × {height} × {width}"),
        flow(260, 296),
        *note(277, "noise"),
    ]
    noised = Noising.of(manifest, bundle.noise_bank)(stages["z0"][None])[0]
    half = () if manifest.low_frequency is None else (channels + channel,)  # its low-frequency part lies behind all
    for index, timestep in enumerate(timesteps):
        y = TOP + STEP * index
        parts.append(text(342, y + PLANE / 2 + 4, f"t = {timestep}", "small end"))
        for place, shown in enumerate((channel, *half)):
            parts.append(plane(348 + 80 * place, y, PLANE, grey(noised[index, shown])))
    parts += [
        *label(
            424 if half else 384, "noised latents z_t", "and their low-frequency part" if half else "one per timestep"
        ),
        flow(508 if half else 428, 540),
        *attention(552, timesteps, stages["timestep_weight"].reshape(-1, len(manifest.timesteps)).sum(axis=0)),
        flow(670, 702),
        *prototypes(700, bundle, verdict, stages),
        flow(938, 970),
        *density(980, bundle, verdict, float(stages["log_density"])),
        flow(1140, 1172),
        *conclusion(1180, verdict),
    ]
    described = f"From image to verdict, {verdict.label}, in the steps of the method"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(described)}">\n<style>{STYLE}</style><defs>{TIP}</defs>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def attention(x: float, timesteps: Sequence[int], weights: Array) -> list[str]:
    """A bar per timestep."""
    parts = []
    for index, _ in enumerate(timesteps):
        y, weight = TOP + STEP * index + PLANE / 2, float(weights[index])
        parts.append(f'<rect x="{x}" y="{y - 9}" width="{max(1.0, 76 * weight):.1f}" height="18" fill="{colour(0)}"/>')
        parts.append(text(x + 76 * weight + 5, y + 4, f"{weight:.2f}", "weak"))
    return [*parts, *label(x + 48, "temporal attention", "→ one embedding")]


def prototypes(x: float, bundle: protoleak.Bundle, verdict: protoleak.Verdict, stages: dict[str, Array]) -> list[str]:
    """Per class the gated distance to its nearest prototype, as a point on an axis from the nearest to the farthest."""
    distances = stages["prototype_distance"].min(axis=1)
    low, high = float(distances.min()), float(distances.max())
    names = bundle.manifest.generators
    step = min(22, 200 / len(names))
    parts = []
    for index, (name, distance) in enumerate(zip(names, distances, strict=True)):
        y = MIDDLE + step * (index - (len(names) - 1) / 2)
        near = name == verdict.nearest
        here = x + 142 + 80 * (float(distance) - low) / max(high - low, 1e-9)
        parts.append(text(x + 130, y + 4, name, "small end bold" if near else "small end"))
        parts.append(f'<path d="M{x + 136} {y:.1f}h92" stroke="#d5d9de"/>')
        parts.append(f'<circle cx="{here:.1f}" cy="{y:.1f}" r="5" fill="{MARK if near else "#9aa4ad"}"/>')
    return [*parts, *label(x + 115, "prototypes", "gated distance to each class's nearest")]


def density(x: float, bundle: protoleak.Bundle, verdict: protoleak.Verdict, log_density: float) -> list[str]:
    """Log densities of the calibration images that the p-value is a rank among, and this image's."""
    calibration = bundle.variant("fp32").calibration
    values = calibration.overall
    if verdict.calibration.group == "generator":
        values = calibration.per_generator[bundle.manifest.generators.index(verdict.nearest)]
    low, high = min(values[0], log_density), values[-1]
    counts, edges = np.histogram(values, bins=18, range=(low, high))
    size, bottom = 150, MIDDLE + 60
    parts = [f'<path d="M{x} {bottom}h{size}" stroke="{WEAK}"/>']
    for count, start in zip(counts, edges[:-1], strict=True):
        tall = 120 * count / counts.max()
        left = x + size * (start - low) / (high - low)
        parts.append(
            f'<rect x="{left:.1f}" y="{bottom - tall:.1f}" width="{size / 18 - 1:.1f}" height="{tall:.1f}" '
            f'fill="#c3c8ce"/>'
        )
    here = x + size * (log_density - low) / (high - low)
    parts.append(f'<path d="M{here:.1f} {bottom}V{bottom - 128}" stroke="{MARK}" stroke-width="2.5"/>')
    parts.append(text(x + size / 2, bottom + 18, "log density", "weak centre"))
    return [*parts, *label(x + size / 2, "density", f"rank in the calibration: p = {verdict.p_value:.3f}")]


def conclusion(x: float, verdict: protoleak.Verdict) -> list[str]:
    """The verdict in a box."""
    named = verdict.generator or verdict.nearest
    shape = (
        f'<rect x="{x}" y="{MIDDLE - 34}" width="112" height="68" rx="8" fill="none" stroke="{MARK}" stroke-width="2"/>'
    )
    return [
        shape,
        text(x + 56, MIDDLE - 6, verdict.label, "bold centre"),
        text(x + 56, MIDDLE + 14, named, "weak centre"),
        *label(x + 56, "verdict", f"at α = {verdict.alpha:g}"),
    ]


def grey(values: Array) -> UInt8Array:
    """A plane as grey levels, from its 1st to its 99th percentile."""
    low, high = np.percentile(values, (1, 99))
    scaled: UInt8Array = np.clip(255 * (values - low) / max(high - low, 1e-9), 0, 255).astype(np.uint8)
    return scaled


def plane(x: float, y: float, size: float, values: UInt8Array) -> str:
    """uint8 [h, w] or [h, w, 3] as an image of the SVG."""
    buffer = io.BytesIO()
    if values.ndim == 3:
        Image.fromarray(values).save(buffer, "JPEG", quality=88)
    else:
        Image.fromarray(values).save(buffer, "PNG", optimize=True)
    kind = "jpeg" if values.ndim == 3 else "png"
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<image x="{x}" y="{y}" width="{size}" height="{size}" href="data:image/{kind};base64,{data}"/>'


def flow(start: float, end: float) -> str:
    return f'<path class="flow" d="M{start} {MIDDLE}H{end}"/>'


def note(x: float, words: str) -> list[str]:
    return [text(x, MIDDLE - 8, words, "weak centre")]


def label(x: float, name: str, detail: str) -> list[str]:
    """What a column shows, below it."""
    return [text(x, HEIGHT - 26, name, "bold centre"), text(x, HEIGHT - 8, detail, "weak centre")]


def text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(words)}</text>'


if __name__ == "__main__":
    main()
