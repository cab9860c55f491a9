"""What the network gave of every face that was screened, in a Parquet file: `discover` need not see the images again.

One row per verdict. Its columns `sha256` and `face` name the line of the results file that it belongs to; `time` is
when it was judged. Embedding, gate and traces are lists of float16, in all 5 kB a face for the default bundle. The
file's metadata names the bundle and variant. docs/screen.md documents the columns; `SCHEMA` counts their changes.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from protoleak.arrays import Array, Float32Array
from protoleak.bundle.bundle import Bundle
from protoleak.enrolment.rows import Rows
from protoleak.errors import MissingExtra, ProtoleakError, first_line
from protoleak.files import refused, replacing
from protoleak.image_records import Record
from protoleak.latent_statistics import second_order_statistics
from protoleak.runtime.pipeline import ImagePipeline
from protoleak.runtime.verdict import Verdict

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SCHEMA = 1
SUFFIX = ".parquet"
METADATA = b"protoleak"
ROWS_AT_ONCE = 256
LISTS = ("embedding", "gate", "scores")
TRACES = "traces"  # a list too, of bundles that have them


@dataclass(frozen=True)
class _Row:
    """A verdict with what it was made from."""

    verdict: Verdict
    embedding: npt.NDArray[np.float16]
    gate: npt.NDArray[np.float16]
    traces: npt.NDArray[np.float16]


class EmbeddingsWriter:
    """Writes a row per verdict of a pipeline. Made by `open_embeddings`."""

    def __init__(self, pipeline: ImagePipeline, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self._space = pipeline.bundle.enrolment.traces()
        self._judged: deque[_Row] = deque()  # verdicts whose record hasn't come yet
        self._rows: list[dict[str, Any]] = []
        pipeline.keep_outputs(self._take)

    def add(self, record: Record) -> None:
        """Takes the record of a face, in the order of the pipeline's verdicts."""
        if record.verdict is None:
            return
        verdict = record.verdict
        while (row := self._judged.popleft()).verdict.input != verdict.input:
            pass  # of an image that nobody asked about, such as the one that a CSV file gets its columns from
        self._rows.append(
            {
                "source": record.source,
                "sha256": record.sha256,
                "face": record.face,
                "verdict": verdict.label,
                "nearest": verdict.nearest,
                "p_value": verdict.p_value,
                "log_density": verdict.log_density,
                "lacking": verdict.lacking,
                "time": datetime.datetime.now(datetime.timezone.utc),
                "scores": np.array(list(verdict.scores.values()), np.float32),
                "embedding": row.embedding,
                "gate": row.gate,
                "traces": row.traces,
            }
        )
        if len(self._rows) == ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Writes what came since the last time."""
        if self._rows:
            self._writer.write_table(_table(self._rows, self._schema))
            self._rows.clear()

    def _take(self, verdict: Verdict, outputs: Mapping[str, Array]) -> None:
        traces = np.zeros(0, np.float16)
        if self._space is not None:
            traces = self._space(second_order_statistics(outputs["z0"], len(outputs["z0"])))[0].astype(np.float16)
        embedding, gate = outputs["embedding"].astype(np.float16), outputs["gate"].astype(np.float16)
        self._judged.append(_Row(verdict, embedding, gate, traces))


@contextlib.contextmanager
def open_embeddings(
    path: Path, pipeline: ImagePipeline, *, resume: bool = False, overwrite: bool = False
) -> Iterator[EmbeddingsWriter]:
    """A file that appears under its name when the block ends.

    Args:
        pipeline: whose verdicts are written from now on.
        resume: keep the rows of a file that is there.
        overwrite: replace it.

    Raises:
        MissingExtra: pyarrow is not installed.
        ProtoleakError: the name ends otherwise, there is a file and neither option was given, it is of another bundle
            or variant, or the disk refused.
    """
    pq = _parquet()
    if path.suffix.lower() != SUFFIX:
        raise ProtoleakError(f"--embeddings {path}: the name must end in {SUFFIX}")
    if not path.absolute().parent.is_dir():
        raise ProtoleakError(f"cannot write {path}: there is no folder {path.parent}: make it first")
    if path.exists() and not (resume or overwrite):
        raise ProtoleakError(
            f"{path} exists: continue it with --resume, replace it with --overwrite, or give another --embeddings"
        )
    schema = _schema(pipeline)
    earlier = None
    if resume and path.exists():
        earlier = _read(path)
        if _about(earlier, path) != json.loads(schema.metadata[METADATA]):
            raise ProtoleakError(f"{path} is of another bundle or variant than this run: give another --embeddings")
    try:
        with replacing(path) as staged, pq.ParquetWriter(staged, schema, compression="zstd") as writer:
            if earlier is not None:
                writer.write_table(earlier.cast(schema))
            embeddings = EmbeddingsWriter(pipeline, writer, schema)
            yield embeddings
            embeddings.flush()
    except OSError as error:
        raise refused(path, error) from error


@dataclass(frozen=True)
class Embeddings:
    """What such a file holds.

    Attributes:
        rows: the faces, n of them, with the scores of the bundle; labels are 0.
        traces: float32 [n, L·F]; None of a bundle without.
        times: when each was judged, in seconds since 1970.
        places: SHA-256 of a file and the number of a face in it → its position.
    """

    rows: Rows
    traces: Float32Array | None
    times: list[float]
    places: dict[tuple[str | None, int | None], int]


def read_embeddings(path: Path, bundle: Bundle) -> Embeddings:
    """
    Args:
        bundle: that the faces were judged with.

    Raises:
        MissingExtra: pyarrow is not installed.
        ProtoleakError: it is no such file, or of another bundle.
    """
    table = _read(path)
    about = _about(table, path)
    if about.get("bundle") != bundle.sha256:
        raise ProtoleakError(
            f"{path} is of the bundle {str(about.get('bundle'))[:12]}…, and --bundle is {bundle.sha256[:12]}…: give "
            "that one, or leave --embeddings out, so that the images are looked at again"
        )
    if about.get("variant") not in bundle.manifest.variants:
        raise ProtoleakError(f"{path} is of the variant {about.get('variant')!r}, which the bundle doesn't have")
    lists = {name: _matrix(table, name, path) for name in LISTS}
    columns = {name: table[name].to_pylist() for name in ("sha256", "face", "time")}
    features = bundle.enrolment.class_statistics().mean.size if bundle.enrolment.has_class_statistics else 0
    rows = Rows(
        lists["embedding"].astype(np.float16),
        lists["gate"].astype(np.float16),
        np.zeros((len(table), features), np.int8),  # which clusters are not found by
        lists["scores"].astype(np.float64),
        table["log_density"].to_numpy().astype(np.float64),
        np.zeros(len(table), np.int64),
    )
    if rows.scores.shape[1:] != (len(bundle.manifest.generators),):
        raise ProtoleakError(f"{path}: its scores are not those of the bundle's classes")
    traces = _matrix(table, TRACES, path).astype(np.float32) if TRACES in table.column_names else None
    names = zip(columns["sha256"], columns["face"], strict=True)
    places = {name: place for place, name in enumerate(names)}
    return Embeddings(rows, traces, [one.timestamp() for one in columns["time"]], places)


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "discover") from None
    return pyarrow.parquet


def _schema(pipeline: ImagePipeline) -> pa.Schema:
    import pyarrow as pa

    manifest = pipeline.bundle.manifest
    space = pipeline.bundle.enrolment.traces()
    features, half = manifest.embedding_size, pa.float16()
    # A list of no width is none to pyarrow, which divides by it.
    traces = [] if space is None else [pa.field(TRACES, pa.list_(half, space.mean.size))]
    about = {"schema": SCHEMA, "bundle": pipeline.bundle.sha256, "variant": pipeline.variant}
    return pa.schema(
        [
            pa.field("source", pa.string()),
            pa.field("sha256", pa.string()),
            pa.field("face", pa.int32()),
            pa.field("verdict", pa.string()),
            pa.field("nearest", pa.string()),
            pa.field("p_value", pa.float64()),
            pa.field("log_density", pa.float64()),
            pa.field("lacking", pa.string()),
            pa.field("time", pa.timestamp("us", tz="UTC")),
            pa.field("scores", pa.list_(pa.float32(), len(manifest.generators))),
            pa.field("embedding", pa.list_(half, features)),
            pa.field("gate", pa.list_(half, features)),
            *traces,
        ],
        metadata={METADATA: json.dumps(about).encode()},
    )


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if field.name in (*LISTS, TRACES):
            flat = pa.array(np.concatenate(values), field.type.value_type)
            columns.append(pa.FixedSizeListArray.from_arrays(flat, type=field.type))
        else:
            columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _read(path: Path) -> pa.Table:
    pq = _parquet()
    import pyarrow as pa

    try:
        for field in pq.read_schema(path):
            if getattr(field.type, "list_size", 1) < 1:  # pyarrow would divide by it
                raise ProtoleakError(
                    f"{path} is not what screen --embeddings writes: its lists {field.name!r} are empty"
                )
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ProtoleakError(f"{path} is not what screen --embeddings writes: {first_line(error)}") from error


def _about(table: pa.Table, path: Path) -> dict[str, Any]:
    try:
        about = json.loads((table.schema.metadata or {})[METADATA])
    except (KeyError, ValueError):
        about = None
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        raise ProtoleakError(f"{path} is not what this protoleak's screen --embeddings writes")
    return about


def _matrix(table: pa.Table, name: str, path: Path) -> npt.NDArray[np.floating]:
    """A column of lists, [n, D], all finite."""
    try:
        column = table[name].combine_chunks()
        width = column.type.list_size
        values: npt.NDArray[np.floating] = column.flatten().to_numpy(zero_copy_only=False)
        matrix = values.reshape(len(table), width)
    except (KeyError, AttributeError, ValueError) as error:
        raise ProtoleakError(f"{path}: its column {name!r} is not one of lists of one length") from error
    if not np.isfinite(matrix).all():
        raise ProtoleakError(f"{path}: its column {name!r} holds what is not finite")
    return matrix
