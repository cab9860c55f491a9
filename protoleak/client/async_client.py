"""A `Screener` that is elsewhere, for stills, in asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from protoleak.client.exchange import (
    BUNDLE,
    DEFAULT_BATCH_SIZE,
    DEFAULT_URL,
    PATIENCE,
    TIMEOUT,
    Address,
    Answer,
    FaceOutcome,
    Outcome,
    Patience,
    all_of,
    bundle_of,
    check_batch_size,
    faces_of,
    need_http,
    verdict_of,
)
from protoleak.client.uploads import listed, upload
from protoleak.errors import MediaError
from protoleak.faces.still_images import FaceVerdict
from protoleak.images.sources import ImageSource
from protoleak.runtime.verdict import Verdict

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio: the same calls, awaited.

        async with AsyncClient("http://127.0.0.1:8000") as screener:
            verdict = (await screener("portrait.jpg"))[0]
            async for outcome in screener.each(paths):
                ...

    Files are read, and pixels encoded, in threads.

    Args:
        url, token, source, timeout, patience: see `Client`.
        http: an AsyncClient of httpx2 to send by, for certificates and proxies of your own; you close it.

    Raises:
        MissingExtra: httpx2 is not installed.
        ServerError: `url` is no http or https address.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        source: str | None = None,
        timeout: float = TIMEOUT,
        patience: float = PATIENCE,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        need_http()
        import httpx2

        self._address = Address(url.rstrip("/"), token, source)
        self._timeout, self._patience = timeout, patience
        self._owned = httpx2.AsyncClient() if http is None else None
        self._http = http or self._owned or httpx2.AsyncClient()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connections. May be called more than once."""
        if self._owned is not None:
            await self._owned.aclose()

    async def __call__(self, images: ImageSource | Sequence[ImageSource]) -> list[Verdict]:
        """The verdicts of one image or of many, in order. Arguments and errors as in `Client.__call__`."""
        return all_of([outcome async for outcome in self.each(listed(images))])

    def each(
        self, images: Iterable[ImageSource | MediaError], batch_size: int = DEFAULT_BATCH_SIZE
    ) -> AsyncIterator[Outcome]:
        """One outcome per image, in order. See `Client.each`."""
        return self._in_order(images, batch_size, self._verdict)

    async def faces(self, image: ImageSource) -> list[FaceVerdict]:
        """A verdict for each face in one image. See `Client.faces`."""
        return all_of(await self._faces(image, 0))

    def each_face(
        self, images: Iterable[ImageSource | MediaError], *, batch_size: int = DEFAULT_BATCH_SIZE
    ) -> AsyncIterator[list[FaceOutcome]]:
        """Per image, in order, the outcomes of its faces. See `Client.each_face`."""
        return self._in_order(images, batch_size, self._faces)

    async def bundle(self) -> dict[str, Any]:
        """What the server says of its bundle, its engine and its limits. See `Client.bundle`."""
        return bundle_of(self._address, await self._asked("GET", BUNDLE))

    async def _in_order(
        self,
        images: Iterable[ImageSource | MediaError],
        batch_size: int,
        ask: Callable[[ImageSource | MediaError, int], Awaitable[T]],
    ) -> AsyncIterator[T]:
        check_batch_size(batch_size)
        waiting: deque[asyncio.Future[T]] = deque()
        try:
            for index, image in enumerate(images):
                waiting.append(asyncio.ensure_future(ask(image, index)))
                if len(waiting) >= batch_size:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _verdict(self, image: ImageSource | MediaError, index: int) -> Outcome:
        try:
            sent = await asyncio.to_thread(upload, image, index)
        except MediaError as error:
            return error
        return verdict_of(
            self._address, await self._asked("POST", self._address.screening(every_face=False), sent.data), sent
        )

    async def _faces(self, image: ImageSource | MediaError, index: int) -> list[FaceOutcome]:
        try:
            sent = await asyncio.to_thread(upload, image, index)
        except MediaError as error:
            return [error]
        return faces_of(
            self._address, await self._asked("POST", self._address.screening(every_face=True), sent.data), sent
        )

    async def _asked(self, method: str, path: str, data: bytes | None = None) -> Answer:
        """The server's last word."""
        import httpx2

        patience = Patience(self._patience)
        while True:
            try:
                response = await self._http.request(
                    method,
                    self._address.url + path,
                    content=data,
                    headers=self._address.headers(data),
                    timeout=self._timeout,
                    follow_redirects=False,
                )
                wait = patience.after(answer := Answer.of(response))
            except httpx2.HTTPError as error:
                wait = patience.after_loss(self._address, error)
            if wait is None:
                return answer
            await asyncio.sleep(wait)
