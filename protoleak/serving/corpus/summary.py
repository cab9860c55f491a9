"""What a corpus comes to: counts, verdicts per generator with intervals, findings with false discoveries controlled.

Everything is computed from the parts, so that whoever has them can repeat it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from protoleak.arrays import Float64Array
from protoleak.image_records import Identity
from protoleak.metrics.false_discovery import FalseDiscoveryControl, false_discovery_control
from protoleak.metrics.intervals import wilson_interval
from protoleak.metrics.report import Share
from protoleak.serving.corpus.plan import Corpus, Folder

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("outcome", "source", "verdict", "generator", "p_value", "real_p_value", "lacking")


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a corpus.

    Attributes:
        inputs: images that were listed.
        rows: of all parts: one per face, and one per input without a verdict.
        outcomes: "verdict", "no_face", "error" and "skipped" → rows.
        verdicts: "known", "real" and "unknown" → their share of all verdicts.
        generators: generator → share of all verdicts that name it. The intervals are Wilson's, for images that are
            independent of one another.
        lacking: verdicts on what holds too little to be judged; they are no evidence, and no tests below.
    """

    protoleak: str
    identity: Identity
    sources: list[str]
    inputs: int
    rows: int
    outcomes: dict[str, int]
    verdicts: dict[str, Share]
    generators: dict[str, Share]
    lacking: int
    false_discovery_control: FalseDiscoveryControl


def summarise(folder: Folder, corpus: Corpus, level: float) -> Summary:
    """Reads all parts.

    Args:
        level: of the false-discovery control.
    """
    outcomes: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    generators: Counter[str] = Counter()
    p_values, real_p_values = list[Float64Array](), list[Float64Array]()
    rows = lacking = 0
    for table in _tables(folder):
        rows += table.num_rows
        outcomes += _counts(table, "outcome")
        labels += _counts(table, "verdict")
        generators += _counts(table, "generator")
        judged = np.array([value is None for value in table["lacking"].to_pylist()], dtype=bool)
        judged &= np.array([value == "verdict" for value in table["outcome"].to_pylist()], dtype=bool)
        lacking += _counts(table, "outcome")["verdict"] - int(judged.sum())
        p_values.append(_numbers(table, "p_value")[judged])
        real_p_values.append(_numbers(table, "real_p_value")[judged])
    verdicts = outcomes["verdict"]
    return Summary(
        protoleak=corpus.protoleak,
        identity=corpus.identity,
        sources=corpus.sources,
        inputs=corpus.inputs,
        rows=rows,
        outcomes={name: outcomes[name] for name in ("verdict", "no_face", "error", "skipped")},
        verdicts={name: share(labels[name], verdicts) for name in ("known", "real", "unknown")},
        generators={name: share(generators[name], verdicts) for name in corpus.generators},
        lacking=lacking,
        false_discovery_control=false_discovery_control(_joined(p_values), _joined(real_p_values), level),
    )


def share(count: int, of: int) -> Share:
    """With Wilson's interval."""
    return Share(count, of, count / of if of else None, wilson_interval(count, of))


def _tables(folder: Folder) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    for part in folder.parts():
        yield pq.read_table(part, columns=list(COLUMNS), partitioning=None)


def _counts(table: pa.Table, column: str) -> Counter[str]:
    return Counter(value for value in table[column].to_pylist() if value is not None)


def _numbers(table: pa.Table, column: str) -> Float64Array:
    """NaN where there is none."""
    return np.array(table[column].to_pylist(), dtype=np.float64)


def _joined(parts: Iterable[Float64Array]) -> Float64Array:
    return np.concatenate([np.zeros(0), *parts])
