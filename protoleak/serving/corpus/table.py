"""Records as rows of Parquet: the fields of a line of `protoleak screen --out`, with the same names and nesting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import inspect

from protoleak.faces.still_images import FaceVerdict
from protoleak.image_records import Identity, Record
from protoleak.runtime.verdict import Verdict

if TYPE_CHECKING:
    import pyarrow as pa

COMPRESSION = "zstd"


def schema_of(identity: Identity) -> pa.Schema:
    """The columns of a run: those of the record, of a verdict, and the run's own settings.

    Args:
        identity: of the run; where images are judged whole, there is no column about a face.
    """
    import pyarrow as pa

    own = {"schema": pa.int64(), "outcome": pa.string(), "source": pa.string(), "sha256": pa.string()}
    own |= {"face": pa.int64(), "faces": pa.int64(), "reason": pa.string()}
    kind = Verdict if identity.settings["faces"] == "none" else FaceVerdict
    verdict = _arrow_type(inspect.type_info(kind))
    fields = [pa.field(name, kind) for name, kind in own.items()]
    fields += [field for field in verdict if field.name != "source"]
    settings = [pa.field(name, _of_value(value)) for name, value in identity.settings.items()]
    return pa.schema([*fields, pa.field("settings", pa.struct(settings))])


def parquet_bytes(records: Sequence[Record], identity: Identity) -> bytes:
    """A whole Parquet file with one row per record."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = schema_of(identity)
    lines = [record.to_dict(identity) for record in records]
    columns = [pa.array([_cell(line.get(field.name), field.type) for line in lines], field.type) for field in schema]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), sink, compression=COMPRESSION)
    return bytes(sink.getvalue())


def _cell(value: Any, kind: pa.DataType) -> Any:
    """A value as Arrow takes it: maps as pairs, at any depth."""
    import pyarrow.types as types

    if value is None:
        return None
    if types.is_map(kind):
        return [(key, _cell(inner, kind.item_type)) for key, inner in value.items()]
    if types.is_struct(kind):
        return {field.name: _cell(value.get(field.name), field.type) for field in kind}
    if types.is_list(kind):
        return [_cell(inner, kind.value_type) for inner in value]
    return value


def _arrow_type(kind: inspect.Type) -> pa.DataType:
    """The Arrow type of what `Verdict.to_dict` makes of a msgspec type."""
    import pyarrow as pa

    if isinstance(kind, inspect.UnionType):
        (inner,) = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return _arrow_type(inner)
    if isinstance(kind, inspect.StructType):
        return pa.struct([pa.field(field.encode_name, _arrow_type(field.type)) for field in kind.fields])
    if isinstance(kind, inspect.DictType):
        return pa.map_(pa.string(), _arrow_type(kind.value_type))  # JSON's keys are strings
    if isinstance(kind, inspect.ListType):
        return pa.list_(_arrow_type(kind.item_type))
    plain: dict[type[inspect.Type], pa.DataType] = {
        inspect.StrType: pa.string(),
        inspect.LiteralType: pa.string(),
        inspect.IntType: pa.int64(),
        inspect.FloatType: pa.float64(),
        inspect.BoolType: pa.bool_(),
    }
    return plain[type(kind)]


def _of_value(value: str | int | float | None) -> pa.DataType:
    return _arrow_type(inspect.type_info(str if value is None else type(value)))


def plain(row: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """A row that was read back, as the line of JSON has it: maps as dictionaries, and without columns that are null
    because there is no verdict.

    Args:
        row: of `Table.to_pylist`.
    """
    return {field.name: _plain(row[field.name], field.type) for field in schema}


def _plain(value: Any, kind: pa.DataType) -> Any:
    import pyarrow.types as types

    if value is None:
        return None
    if types.is_map(kind):
        return {key: _plain(inner, kind.item_type) for key, inner in value}
    if types.is_struct(kind):
        return {field.name: _plain(value[field.name], field.type) for field in kind}
    if types.is_list(kind):
        return [_plain(inner, kind.value_type) for inner in value]
    return value
