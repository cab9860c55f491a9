"""How right the very artefact is that was timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from protoleak.bench.inputs import Kind, Labelled
from protoleak.bench.results import Accuracy, Verdicts
from protoleak.runtime.verdict import Verdict
from protoleak.screener import Screener

Answer = tuple[str, str | None]  # verdict and generator
BATCH = 8


def answers(
    screener: Screener, images: Sequence[Labelled], progress: Callable[[int], None] = lambda _: None
) -> list[Answer | None]:
    """Verdict and generator of each image, in order; None for one that gave none.

    Args:
        progress: told how many are done.
    """
    return list(_answers(screener, images, progress))


def _answers(
    screener: Screener, images: Sequence[Labelled], progress: Callable[[int], None]
) -> Iterator[Answer | None]:
    paths = [image.path for image in images]
    for done, outcome in enumerate(screener.each(paths, batch_size=BATCH), start=1):
        progress(done)
        yield (outcome.label, outcome.generator) if isinstance(outcome, Verdict) else None


def judge(
    name: tuple[str, str, str],
    images: Sequence[Labelled],
    given: Sequence[Answer | None],
    real_class: str | None,
    reference: tuple[str, Sequence[Answer | None]] | None = None,
) -> Accuracy:
    """Compares verdicts with labels.

    Right is: a camera original that is called real (by a bundle without a camera class: unknown), a known generator's
    image with its own name, and an unknown generator's that is called unknown.

    Args:
        name: engine, variant and compute.
        given: one answer per image.
        real_class: the bundle's, or None.
        reference: another's name and answers to the same images.
    """
    engine, variant, compute = name
    pairs = [(image, answer) for image, answer in zip(images, given, strict=True) if answer is not None]
    right = [_is_right(image, answer, real_class) for image, answer in pairs]

    def verdicts(kind: Kind) -> Verdicts | None:
        chosen = [(answer[0], good) for (image, answer), good in zip(pairs, right, strict=True) if image.kind == kind]
        if not chosen:
            return None
        counts = {name: sum(verdict == name for verdict, _ in chosen) for name in ("known", "real", "unknown")}
        return Verdicts(len(chosen), sum(good for _, good in chosen), **counts)

    same = None
    if reference is not None:
        same = sum(one == other for one, other in zip(given, reference[1], strict=True)) / len(given)
    return Accuracy(
        engine=engine,
        variant=variant,
        compute=compute,
        camera=verdicts("camera"),
        generators=verdicts("generator"),
        others=verdicts("other"),
        agreement=sum(right) / len(right) if right else None,
        reference=None if reference is None else reference[0],
        same_as_reference=same,
        unreadable=len(given) - len(pairs),
    )


def _is_right(image: Labelled, answer: Answer, real_class: str | None) -> bool:
    verdict, generator = answer
    if image.kind == "camera":
        return verdict == ("unknown" if real_class is None else "real")
    if image.kind == "generator":
        return generator == image.folder
    return verdict == "unknown"
