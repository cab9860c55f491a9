"""A `Screener` that is elsewhere, for stills."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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


class Client:
    """Turns images into verdicts by a `protoleak serve`.

        with Client("http://127.0.0.1:8000") as screener:
            verdict = screener("portrait.jpg")[0]
            faces = screener.faces("group.jpg")

    What it gives is what a `Screener` with the server's bundle gives, but for the times: sources are paths as they are
    here, and pixels have the hash of pixels. Files are sent as they are, pixels as PNG; no path is sent. It may be used
    from several threads.

    Args:
        url: of the server, such as "https://screening.example".
        token: what the server's --token-file holds; None where it wants none.
        source: where the images are from, such as a camera's name: the server keeps evidence for each source that its
            images are not like the calibration's (docs/serve.md). None to say nothing.
        timeout: seconds without a sign of the server, for each image.
        patience: seconds for which a busy server (503) is asked again, as often as it says.
        http: a client of httpx2 to send by, for certificates and proxies of your own; you close it.

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
        http: httpx2.Client | None = None,
    ) -> None:
        need_http()
        import httpx2

        self._address = Address(url.rstrip("/"), token, source)
        self._timeout, self._patience = timeout, patience
        self._owned = httpx2.Client() if http is None else None
        self._http = http or self._owned or httpx2.Client()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections. May be called more than once."""
        if self._owned is not None:
            self._owned.close()

    def __call__(self, images: ImageSource | Sequence[ImageSource]) -> list[Verdict]:
        """The verdicts of one image or of many, in order; see `Screener.__call__`.

        Args:
            images: one of, or a sequence of: a path, a `data:` URI, an encoded image as bytes, a buffer or a file
                opened in binary mode, a Pillow image, uint8 [H, W, 3] in RGB order in an array or a CPU tensor. One
                uint8 [N, H, W, 3] is N images.

        Raises:
            MediaError: an image cannot be read, here or there; no verdicts are returned then.
            EngineError: the network's outputs are not finite.
            ServerError: the server cannot be reached, is busy for too long, or refuses the request.
        """
        return all_of(self.each(listed(images)))

    def each(
        self, images: Iterable[ImageSource | MediaError], batch_size: int = DEFAULT_BATCH_SIZE
    ) -> Iterator[Outcome]:
        """One outcome per image, in order: its verdict, or the error that names it. The images are taken as needed.

        Args:
            images: as in `__call__`; an error in its place is handed on.
            batch_size: images that are on their way at once, each in a request of its own: the server puts together
                what waits.

        Raises:
            ServerError: as in `__call__`; what came before it has been given.
        """
        return self._in_order(images, batch_size, self._verdict)

    def faces(self, image: ImageSource) -> list[FaceVerdict]:
        """A verdict for each face in one image, by falling confidence of the server's detector.

        Raises:
            MediaError: the image cannot be read, or no face was found in it.
            EngineError: the network's outputs for a face are not finite.
            ServerError: as in `__call__`.
        """
        (outcomes,) = self.each_face([image])
        return all_of(outcomes)

    def each_face(
        self, images: Iterable[ImageSource | MediaError], *, batch_size: int = DEFAULT_BATCH_SIZE
    ) -> Iterator[list[FaceOutcome]]:
        """Per image, in order, the outcomes of its faces; one MediaError where there is no face. See `each`."""
        return self._in_order(images, batch_size, self._faces)

    def bundle(self) -> dict[str, Any]:
        """What the server says of its bundle, its engine and its limits.

        Raises:
            ServerError: as in `__call__`.
        """
        return bundle_of(self._address, self._asked("GET", BUNDLE))

    def _in_order(
        self,
        images: Iterable[ImageSource | MediaError],
        batch_size: int,
        ask: Callable[[ImageSource | MediaError, int], T],
    ) -> Iterator[T]:
        check_batch_size(batch_size)
        pool = ThreadPoolExecutor(batch_size, thread_name_prefix="protoleak-client")
        waiting: deque[Future[T]] = deque()
        try:
            for index, image in enumerate(images):
                waiting.append(pool.submit(ask, image, index))
                if len(waiting) >= batch_size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _verdict(self, image: ImageSource | MediaError, index: int) -> Outcome:
        try:
            sent = upload(image, index)
        except MediaError as error:
            return error
        return verdict_of(
            self._address, self._asked("POST", self._address.screening(every_face=False), sent.data), sent
        )

    def _faces(self, image: ImageSource | MediaError, index: int) -> list[FaceOutcome]:
        try:
            sent = upload(image, index)
        except MediaError as error:
            return [error]
        return faces_of(self._address, self._asked("POST", self._address.screening(every_face=True), sent.data), sent)

    def _asked(self, method: str, path: str, data: bytes | None = None) -> Answer:
        """The server's last word."""
        import httpx2

        patience = Patience(self._patience)
        while True:
            try:
                response = self._http.request(
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
            time.sleep(wait)
