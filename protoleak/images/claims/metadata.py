"""Claims in the metadata that Pillow reads: XMP, IPTC-IIM, text chunks of PNG, EXIF."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import unquote

from PIL import Image, ImageFile
from PIL.IptcImagePlugin import getiptcinfo

from protoleak.images.claims.claim import Claim, Origin, one_line

LONGEST_TEXT = 2**20  # bytes or characters of one piece of metadata that are looked at

# IPTC's vocabulary http://cv.iptc.org/newscodes/digitalsourcetype/; what is not here is "other".
ORIGIN_OF_SOURCE_TYPE: dict[str, Origin] = {
    "trainedAlgorithmicMedia": "generated",
    "compositeWithTrainedAlgorithmicMedia": "generated",
    "algorithmicMedia": "generated",
    "compositeSynthetic": "generated",
    "digitalCapture": "camera",
    "computationalCapture": "camera",
    "compositeCapture": "camera",
    "negativeFilm": "camera",
    "positiveFilm": "camera",
    "print": "camera",
    "humanEdits": "edited",
    "minorHumanEdits": "edited",
    "algorithmicallyEnhanced": "edited",
}
SOURCE_TYPE = re.compile(r"digitalsourcetype/([A-Za-z]{1,60})", re.IGNORECASE)
# The programs and services by the names that they write into the files they make.
GENERATORS = re.compile(
    r"stable[ _-]?diffusion|sdxl|comfyui|automatic1111|invokeai|novelai|fooocus|midjourney|dall[·. -]?e\b|openai"
    r"|gpt-4o|firefly|\bimagen\b|made with google ai|\bflux\b|leonardo\.ai|ideogram|dreamstudio|nightcafe"
    r"|bing image|playground ai|\bgrok\b|\bgemini\b",
    re.IGNORECASE,
)
STEPS, SAMPLING = re.compile(r"\bSteps: \d"), re.compile(r"\b(?:Sampler|CFG scale|Seed): ")
LONGEST_PARAMETERS = 2000  # characters between the two
MIDJOURNEY_JOB = re.compile(r"\bJob ID: [0-9a-f]{8}-[0-9a-f]{4}-")
# Key of a text chunk → who writes it, where the key alone says so.
TEXT_KEYS = {
    "sd-metadata": "InvokeAI",
    "invokeai_metadata": "InvokeAI",
    "invokeai_graph": "InvokeAI",
    "invokeai_workflow": "InvokeAI",
    "dream": "InvokeAI",
    "fooocus_scheme": "Fooocus",
    "sui_image_params": "SwarmUI",
    "generation_data": "TensorArt",
}
USER_COMMENT, SOFTWARE, DESCRIPTION, MAKER_TEXT = 0x9286, 0x0131, 0x010E, 0x013B
EXIF_IFD = 0x8769
JPEG = ("JPEG", "MPO")
IPTC_IN_TIFF = 33723
IPTC_CREDIT, IPTC_PROGRAM = (2, 110), (2, 65)


def xmp_claims(image: Image.Image) -> Iterator[Claim]:
    """`DigitalSourceType`, and the credit or program of a generator."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if not packet:
        return
    text = packet if isinstance(packet, str) else bytes(packet[:LONGEST_TEXT]).decode("utf-8", "replace")
    text = text[:LONGEST_TEXT]
    for found in SOURCE_TYPE.finditer(text):
        yield Claim(standard="XMP", origin=origin_of(found[1]), text=f"DigitalSourceType {found[1]}")
    for name in ("CreatorTool", "Credit", "AISystemUsed"):
        for found in re.finditer(rf"\b\w+:{name}(?:=\"|>)([^<\"]{{1,300}})", text):
            if GENERATORS.search(found[1]):
                yield Claim(standard="XMP", origin="generated", text=one_line(f"{name} {found[1]}"))


def iptc_claims(image: Image.Image) -> Iterator[Claim]:
    """Credit and program of IPTC-IIM."""
    if not isinstance(image, ImageFile.ImageFile) or (image.format in JPEG and "photoshop" not in image.info):
        return  # of a JPEG it stands there alone; Pillow imports its reader of TIFF to find that out
    if _is_long_iptc(image):
        return
    found = getiptcinfo(image)
    for key, value in (found or {}).items():
        if key in (IPTC_CREDIT, IPTC_PROGRAM) and isinstance(value, bytes):
            text = value[:LONGEST_TEXT].decode("utf-8", "replace")
            if GENERATORS.search(text):
                yield Claim(standard="IPTC", origin="generated", text=one_line(text))


def _is_long_iptc(image: ImageFile.ImageFile) -> bool:
    """Whether a TIFF holds more of it than is looked at: Pillow reads millions of fields one by one. In a JPEG there is
    room for 64 kB."""
    block = getattr(image, "tag_v2", {}).get(IPTC_IN_TIFF, b"") if image.format == "TIFF" else b""
    return isinstance(block, (bytes, tuple)) and len(block) > LONGEST_TEXT  # numbers of up to 8 bytes, or bytes


def png_text_claims(image: Image.Image) -> Iterator[Claim]:
    """The parameters that interfaces of Stable Diffusion and others leave in text chunks."""
    chunks = getattr(image, "text", None)
    for key, value in (chunks or {}).items():
        if not isinstance(value, str) or key == "XML:com.adobe.xmp":
            continue
        text = value[:LONGEST_TEXT]
        if writer := _writer(key, text):
            yield Claim(standard="PNG text", origin="generated", text=one_line(f"{key}, as {writer} writes: {text}"))


def exif_claims(image: Image.Image) -> Iterator[Claim]:
    """Program, description and comment, where they name a generator or its parameters."""
    exif = image.getexif()
    texts = {"Software": exif.get(SOFTWARE), "ImageDescription": exif.get(DESCRIPTION), "Artist": exif.get(MAKER_TEXT)}
    texts["UserComment"] = exif.get_ifd(EXIF_IFD).get(USER_COMMENT)
    for key, value in texts.items():
        if not (text := _exif_text(value)):
            continue
        named = GENERATORS.search(text) if key in ("Software", "Artist") else None
        if named or _writer("parameters" if _has_steps(text) else "", text):
            yield Claim(standard="EXIF", origin="generated", text=one_line(f"{key}: {text}"))


def origin_of(source_type: str) -> Origin:
    """What a code of IPTC's vocabulary of digital source types comes to."""
    return ORIGIN_OF_SOURCE_TYPE.get(source_type, "other")


def _writer(key: str, text: str) -> str | None:
    """Which program writes such a text chunk."""
    if key.lower() in TEXT_KEYS:
        return TEXT_KEYS[key.lower()]
    if _has_steps(text):
        return "Stable Diffusion's web interfaces"
    if key.lower() in ("prompt", "workflow") and _is_comfyui(text):
        return "ComfyUI"
    if MIDJOURNEY_JOB.search(text):
        return "Midjourney"
    if key.lower() in ("software", "source", "generator", "creator", "title") and (
        GENERATORS.search(text) or "ai generated" in text.lower()
    ):
        return unquote(one_line(text))
    return None


def _has_steps(text: str) -> bool:
    """Whether a number of steps stands in it, and a sampler, scale or seed soon behind. Both are gone through once: one
    expression for the two would try every pair of places, which takes minutes in a text made for it."""
    behind = (found.start() for found in SAMPLING.finditer(text))
    place = -1
    for steps in STEPS.finditer(text):
        while place < steps.end():
            place = next(behind, len(text))
            if place == len(text):
                return False
        if place - steps.end() <= LONGEST_PARAMETERS:
            return True
    return False


def _is_comfyui(text: str) -> bool:
    """A prompt is a JSON object of nodes with a `class_type`; a workflow has `nodes`. Long ones are recognised, not
    read."""
    if len(text) == LONGEST_TEXT:
        return '"class_type"' in text or '"nodes"' in text
    try:
        graph = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(graph, dict):
        return False
    return "nodes" in graph or any(isinstance(node, dict) and "class_type" in node for node in graph.values())


def _exif_text(value: object) -> str:
    """A text of EXIF; comments begin with the name of their encoding in eight bytes."""
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if not isinstance(value, bytes):
        return ""
    kind, rest = value[:8], value[8:LONGEST_TEXT]
    if kind.startswith(b"UNICODE"):
        little = rest[1:2] == b"\0" and rest[:1] != b"\0"
        return rest.decode("utf-16-le" if little else "utf-16-be", "replace")
    return (rest if kind.startswith((b"ASCII", b"\0" * 8)) else value[:LONGEST_TEXT]).decode("utf-8", "replace")
