"""An image with content credentials, signed by a certificate made for it."""

from __future__ import annotations

import io
from datetime import datetime, timedelta, timezone

from PIL import Image

SIGNER = "A Camera"


def signed_jpeg(source_type: str) -> bytes:
    """A JPEG whose content credentials say that it was created with a digital source type of IPTC's vocabulary."""
    import c2pa

    manifest = {
        "claim_generator_info": [{"name": "tests", "version": "1"}],
        "title": "an image",
        "format": "image/jpeg",
        "assertions": [
            {
                "label": "c2pa.actions",
                "data": {
                    "actions": [
                        {
                            "action": "c2pa.created",
                            "digitalSourceType": f"http://cv.iptc.org/newscodes/digitalsourcetype/{source_type}",
                        }
                    ]
                },
            }
        ],
    }
    plain, signed = io.BytesIO(), io.BytesIO()
    Image.effect_noise((160, 160), 60).convert("RGB").save(plain, "JPEG")
    plain.seek(0)
    certificates, key = _certificates()
    information = c2pa.C2paSignerInfo(alg=b"es256", sign_cert=certificates, private_key=key, ta_url=None)
    with c2pa.Signer.from_info(information) as signer:
        c2pa.Builder(manifest).sign(signer, "image/jpeg", plain, signed)
    return signed.getvalue()


def _certificates() -> tuple[bytes, bytes]:
    """A chain of two certificates and the private key of the first, in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(name: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests")]
        )

    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    now = datetime.now(timezone.utc)

    def certificate(name: str, of: ec.EllipticCurvePrivateKey, *, is_authority: bool) -> bytes:
        usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
        usage |= dict.fromkeys(("encipher_only", "decipher_only"), False)
        usage |= {"digital_signature": not is_authority, "key_cert_sign": is_authority, "crl_sign": is_authority}
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("Test CA"))
            .public_key(of.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(of.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        )
        if not is_authority:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
            )
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    chain = certificate(SIGNER, key, is_authority=False) + certificate("Test CA", authority, is_authority=True)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return chain, private
