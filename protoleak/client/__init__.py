"""Verdicts from a `protoleak serve` elsewhere: what stands where a `Screener` stands, for stills.

    from protoleak.client import Client

    with Client("https://screening.example", token="…") as screener:
        verdict = screener("portrait.jpg")[0]

It needs `pip install "protoleak[client]"`, and no engine.
"""

from protoleak.client.async_client import AsyncClient
from protoleak.client.client import Client

__all__ = ["AsyncClient", "Client"]
