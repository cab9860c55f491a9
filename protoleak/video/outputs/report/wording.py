"""What a verdict means, in sentences that say no more than it does."""

from __future__ import annotations

from protoleak.bundle import report
from protoleak.runtime.verdict import Verdict
from protoleak.video.events import TrackVerdict
from protoleak.video.outputs.run_record import RunRecord


def verdict_paragraphs(track: TrackVerdict, run: RunRecord, group: str | None) -> list[str]:
    """A track's verdict in one or more paragraphs: what it says, and what it doesn't.

    Args:
        group: whose calibration images the faces' p-values are ranks among; None without an attributed face.
    """
    faces = "1 attributed face" if track.evidence == 1 else f"{track.evidence} attributed faces"
    if track.label == "undecided":
        return [
            f"There is no verdict yet: {faces}, and {run.settings.get('minimum_evidence')} are the least for one. "
            "An undecided track says nothing about the face."
        ]
    p_value = p_value_paragraph(track, run, group)
    if track.label == "known":
        return [
            f"By the mean scores of {faces}, these images resemble most those made by {track.generator}, and the "
            f"merged p-value of {track.p_value:.3f}, above α = {run.alpha:g}, gives no reason to doubt that the bundle "
            "knows their kind.",
            p_value,
            "It does not mean that the person shown did anything, that the whole video is synthetic, or that it was "
            f"made by {track.generator} with a probability of {track.p_value:.3f}. An image from a camera can be "
            "named so by mistake, and a generator that the bundle doesn't know can resemble one that it knows. "
            + accusations(run),
        ]
    if track.label == "real":
        return [
            f"By the mean scores of {faces}, these images resemble most the camera images that the bundle was "
            f"trained on, and the merged p-value of {track.p_value:.3f}, above α = {run.alpha:g}, gives no reason to "
            "doubt that the bundle knows their kind.",
            p_value,
            "It is no proof of authenticity: a generator that the bundle doesn't know can resemble a camera.",
        ]
    if track.p_value > run.alpha and track.nearest == run.real_class:
        return [
            f"By the mean scores of {faces}, these images resemble most the camera images that the bundle was trained "
            f"on, but they are not unlike enough to images by generators to be called real: the merged p-value among "
            f"these, {track.generated_p_value:.3f}, is too high.",
            p_value,
            "It says neither that the face was generated nor that it is real.",
        ]
    if track.p_value > run.alpha:
        return [
            f"By the mean scores of {faces}, these images resemble most those made by {track.nearest}, but they are "
            f"not unlike enough to the bundle's camera originals for an accusation: the merged p-value among these, "
            f"{track.real_p_value:.3f}, is too high.",
            p_value,
            "It says neither that the face was generated nor that it is real.",
        ]
    return [
        f"Over {faces}, these images are unlike everything that the bundle knows: the merged p-value of "
        f"{track.p_value:.3f} is at most α = {run.alpha:g}. The nearest class would have been {track.nearest}.",
        p_value,
        "It says neither that the face was generated nor that it is real. It may come from a generator that the bundle "
        "doesn't know, or from a camera, a light or a compression unlike those of its training.",
    ]


def p_value_paragraph(track: TrackVerdict, run: RunRecord, group: str | None) -> str:
    """How the p-value is to be read."""
    shared = group in (None, "overall")
    among = "of the calibration images" if shared else f"of the calibration images of {group}"
    mixed = ", or less than twice that where other classes have lists of their own" if shared else ""
    return (
        f"A face's p-value is the share {among} that are at least as unusual as it. Neighbouring frames resemble each "
        f"other, so those of a track are merged by a rule that holds whatever their dependence, into "
        f"{track.p_value:.3f}: small only where those of more than half of the faces are. Images of a kind that the "
        f"bundle knows fall to α = {run.alpha:g} or "
        f"below, and are called unknown, in at most {100 * run.alpha:g} % of cases on average{mixed}."
    )


def accusations(run: RunRecord) -> str:
    """What was measured of wrong accusations."""
    found = run.real_faces_accused
    return report.accusations(None) if found is None else report.accusations((found.count, found.of), found.since)


def reason_text(verdict: Verdict) -> str:
    """Why a face was given its nearest class."""
    own, other = verdict.why.nearest_prototype, verdict.why.runner_up
    if own.distance <= other.distance:
        compared = "which is farther"
        if own.distance > 0:
            times = other.distance / own.distance
            compared = f"{times:.3g} times as far" if times < 100 else f"{times:,.0f} times as far"
    else:  # a head may weigh classes by more than their nearest prototype
        compared = "which is nearer: the head's score, which decides, rests on more than the nearest prototype"
    return (
        f"Its embedding's nearest prototype of {own.generator} is number {own.index}, at a gated squared distance of "
        f"{own.distance:.4g}. The nearest of any other class is number {other.index} of {other.generator}, at "
        f"{other.distance:.4g}, {compared}."
    )
