"""What files say of their own origin is read as claims, bounded, and whatever is wrong with it."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from protoleak.images.claims import content_credentials
from protoleak.images.claims.claim import LONGEST_CLAIM, Claim, disagreement
from protoleak.images.claims.read import MOST_CLAIMS
from protoleak.images.formats.jpeg import examine
from protoleak.images.open import open_image
from tests.images.signed_image import SIGNER, signed_jpeg

PARAMETERS = "a portrait\nNegative prompt: blur\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 512x512"
COMFY_PROMPT = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 1}}})
COMFY_WORKFLOW = json.dumps({"nodes": [], "links": [], "version": 0.4})


def png(**texts: str) -> bytes:
    information = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        information.add_itxt(key.replace("_", "-") if key == "sd_metadata" else key, text)
    return encoded("PNG", pnginfo=information)


def encoded(format: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 60).convert("RGB").save(file, format, **options)
    return file.getvalue()


def xmp(inner: str) -> bytes:
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        f'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description {inner}/></rdf:RDF></x:xmpmeta>'
    ).encode()


def source_type(name: str) -> bytes:
    return xmp(f'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/{name}"')


def claims(data: bytes) -> list[tuple[str, str]]:
    return [(claim.standard, claim.origin) for claim in open_image(data).claims]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"parameters": PARAMETERS}, "Stable Diffusion"),
        ({"prompt": COMFY_PROMPT}, "ComfyUI"),
        ({"workflow": COMFY_WORKFLOW}, "ComfyUI"),
        ({"invokeai_metadata": '{"model": "x"}'}, "InvokeAI"),
        ({"sd_metadata": "{}"}, "InvokeAI"),
        ({"Software": "NovelAI", "Title": "AI generated image"}, "NovelAI"),
        ({"Description": "a cat --v 6 Job ID: 12345678-1234-1234-1234-123456789012"}, "Midjourney"),
    ],
)
def test_what_generators_leave_in_png_is_a_claim_that_names_them(texts: dict[str, str], words: str) -> None:
    found = open_image(png(**texts)).claims
    assert {(claim.standard, claim.origin) for claim in found} == {("PNG text", "generated")}
    assert words in found[0].text
    assert all("\n" not in claim.text for claim in found)


@pytest.mark.parametrize(
    "texts",
    [
        {"Software": "GIMP 2.10", "Comment": "Created with GIMP"},
        {"prompt": "a text that is no graph", "workflow": "[1, 2]"},
        {"parameters": "aperture 2.8, steps taken: none"},
        {"Description": "my cat"},
    ],
)
def test_other_texts_are_no_claims(texts: dict[str, str]) -> None:
    assert claims(png(**texts)) == []


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("trainedAlgorithmicMedia", "generated"),
        ("compositeWithTrainedAlgorithmicMedia", "generated"),
        ("digitalCapture", "camera"),
        ("minorHumanEdits", "edited"),
        ("somethingNew", "other"),
    ],
)
def test_the_digital_source_type_of_xmp_is_a_claim(format: str, name: str, origin: str) -> None:
    packet = source_type(name)
    if format == "PNG":
        information = PngImagePlugin.PngInfo()
        information.add_itxt("XML:com.adobe.xmp", packet.decode())
        data = encoded("PNG", pnginfo=information)
    else:
        data = encoded(format, xmp=packet)
    assert claims(data) == [("XMP", origin)]


def test_a_credit_to_a_generator_in_xmp_is_a_claim_and_one_to_a_photographer_is_not() -> None:
    assert claims(encoded("JPEG", xmp=xmp('photoshop:Credit="Made with Google AI"'))) == [("XMP", "generated")]
    assert claims(encoded("JPEG", xmp=xmp('photoshop:Credit="Ann Other" xmp:CreatorTool="Photoshop"'))) == []


def test_a_credit_to_a_generator_in_iptc_is_a_claim() -> None:
    for credit, found in ((b"Made with Google AI", [("IPTC", "generated")]), (b"Ann Other", [])):
        dataset = b"\x1c\x02\x6e" + len(credit).to_bytes(2, "big") + credit
        resource = b"8BIM\x04\x04\0\0" + len(dataset).to_bytes(4, "big") + dataset + b"\0" * (len(dataset) % 2)
        segment = b"Photoshop 3.0\0" + resource
        data = encoded("JPEG")
        marker = b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big")
        assert claims(data[:2] + marker + segment + data[2:]) == found


@pytest.mark.parametrize(
    "comment",
    [b"UNICODE\0" + PARAMETERS.encode("utf-16-be"), b"ASCII\0\0\0" + PARAMETERS.encode(), PARAMETERS.encode()],
)
def test_parameters_in_the_comment_of_exif_are_a_claim(comment: bytes) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    assert claims(encoded("JPEG", exif=exif)) == [("EXIF", "generated")]


def test_a_generator_named_as_software_of_exif_is_a_claim_and_a_camera_is_none() -> None:
    for software, found in (("Midjourney 6", [("EXIF", "generated")]), ("Camera Control 2.1", [])):
        exif = Image.Exif()
        exif[0x0131] = software
        assert claims(encoded("JPEG", exif=exif)) == found


def test_claims_are_short_few_and_printable() -> None:
    many = png(**{f"Comment{index}": f"{PARAMETERS} {index} \x1b[2J" + 5000 * "x" for index in range(40)})
    found = open_image(many).claims
    assert len(found) == MOST_CLAIMS
    assert all(len(str(claim)) < LONGEST_CLAIM + 40 and str(claim).isprintable() for claim in found)


def test_nested_json_and_broken_metadata_are_no_claims_and_no_errors() -> None:
    assert claims(png(prompt=100_000 * "[", workflow=100_000 * '{"a":')) == []
    assert claims(encoded("JPEG", exif=b"Exif\0\0MM\0*" + 200 * b"\xff")) == []
    assert claims(encoded("JPEG", xmp=300 * b"\xff\xfe<")) == []


def test_metadata_damaged_anywhere_never_stops_an_image_from_being_read() -> None:
    exif = Image.Exif()
    exif[0x0131] = "Midjourney"
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + PARAMETERS.encode("utf-16-be")
    data = encoded("JPEG", exif=exif, xmp=source_type("digitalCapture"))
    random = np.random.default_rng(5)
    end = data.index(b"\xff\xdb")  # the metadata stand before the tables
    for _ in range(300):
        changed = bytearray(data)
        for place in random.integers(30, end, size=6):
            if changed[place] != 0xFF and changed[place - 1] != 0xFF and changed[place - 2 : place - 1] != b"\xff":
                changed[place] = random.integers(0, 255)
        try:
            open_image(bytes(changed))
        except Exception as error:
            assert type(error).__name__ == "MediaError"  # noqa: PT017  # damage is said, in the one way that it is


def test_verdicts_and_claims_that_contradict_each_other_are_said_in_one_line() -> None:
    camera = Claim(standard="XMP", origin="camera", text="DigitalSourceType digitalCapture")
    generated = Claim(standard="PNG text", origin="generated", text="parameters")
    assert "disagree" in (disagreement("known", [camera]) or "")
    assert "disagree" in (disagreement("real", [generated]) or "")
    for label, claim in (("known", generated), ("real", camera), ("unknown", camera), ("unknown", generated)):
        assert disagreement(label, [claim]) is None


def test_a_claim_whose_signature_is_broken_contradicts_nothing() -> None:
    broken = Claim(standard="C2PA", origin="camera", text="x", signed_by="y", signature="invalid")
    assert disagreement("known", [broken]) is None


@pytest.mark.parametrize(("name", "origin"), [("trainedAlgorithmicMedia", "generated"), ("digitalCapture", "camera")])
def test_content_credentials_are_read_with_their_signer(name: str, origin: str) -> None:
    pytest.importorskip("c2pa", reason="c2pa-python is an extra")
    data = signed_jpeg(name)
    [claim] = open_image(data).claims
    assert (claim.standard, claim.origin, claim.signed_by) == ("C2PA", origin, SIGNER)
    assert claim.signature == "valid"  # the certificate is nobody's that is trusted
    assert name in claim.text


def test_content_credentials_of_an_altered_file_are_invalid() -> None:
    pytest.importorskip("c2pa", reason="c2pa-python is an extra")
    data = bytearray(signed_jpeg("digitalCapture"))
    data[data.rindex(b"\xff\xdb") + 20] ^= 1  # of a table: still an image, of other colours
    [claim] = open_image(bytes(data)).claims
    assert claim.signature == "invalid"


def test_without_the_extra_it_is_said_that_there_are_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("c2pa", reason="c2pa-python is an extra")
    data = signed_jpeg("digitalCapture")
    monkeypatch.setitem(sys.modules, "c2pa", None)
    [claim] = open_image(data).claims
    assert claim.origin == "other"
    assert "protoleak[provenance]" in claim.text


def test_nothing_is_fetched_for_credentials() -> None:
    assert content_credentials.SETTINGS["verify"]["remote_manifest_fetch"] is False
    assert content_credentials.SETTINGS["verify"]["ocsp_fetch"] is False


def test_the_mark_is_looked_for_everywhere_but_among_coded_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)  # so that it is said where the library would be asked
    plain = encoded("JPEG")
    begin, end = examine(plain).coded
    assert 100 < begin < end == len(plain) - 2
    assert plain[end:] == b"\xff\xd9"
    middle = (begin + end) // 2
    within = plain[:middle] + b"c2pa" + plain[middle + 4 :]
    assert not list(content_credentials.content_credentials(within, "JPEG", (begin, end)))
    for data in (encoded("JPEG", comment=b"c2pa"), plain + b"c2pa"):
        assert len(list(content_credentials.content_credentials(data, "JPEG", examine(data).coded))) == 1
        assert len(list(content_credentials.content_credentials(data, "JPEG"))) == 1
    for place in (begin - 4, begin - 1, end - 3, end):  # across either border it counts
        across = plain[:place] + b"c2pa" + plain[place + 4 :]
        assert len(list(content_credentials.content_credentials(across, "JPEG", (begin, end)))) == 1


def test_the_four_letters_alone_are_no_credentials() -> None:
    pytest.importorskip("c2pa", reason="c2pa-python is an extra")
    assert claims(encoded("JPEG", comment=b"c2pa")) == []
