"""The fields of onnx.proto that a graph of protoleak may use, message by message.

What isn't here is refused when it is read: graphs inside attributes (control flow), functions, sparse tensors,
sequences and maps, training information. So no table refers to itself, and nesting has a bound.
"""

from __future__ import annotations

from protoleak.bundle.protobuf import Field, Tables

FIELD_TABLES: Tables = {
    "ModelProto": {
        1: Field("ir_version", "int64"),
        2: Field("producer_name", "text"),
        3: Field("producer_version", "text"),
        4: Field("domain", "text"),
        5: Field("model_version", "int64"),
        6: Field("doc_string", "text"),
        7: Field("graph", "message", of="GraphProto"),
        8: Field("opset_import", "message", True, "OperatorSetIdProto"),
        14: Field("metadata_props", "message", True, "StringStringEntryProto"),
    },
    "OperatorSetIdProto": {1: Field("domain", "text"), 2: Field("version", "int64")},
    "StringStringEntryProto": {1: Field("key", "text"), 2: Field("value", "text")},
    "GraphProto": {
        1: Field("node", "message", True, "NodeProto"),
        2: Field("name", "text"),
        5: Field("initializer", "message", True, "TensorProto"),
        10: Field("doc_string", "text"),
        11: Field("input", "message", True, "ValueInfoProto"),
        12: Field("output", "message", True, "ValueInfoProto"),
        13: Field("value_info", "message", True, "ValueInfoProto"),
        14: Field("quantization_annotation", "message", True, "TensorAnnotation"),
        16: Field("metadata_props", "message", True, "StringStringEntryProto"),
    },
    "TensorAnnotation": {
        1: Field("tensor_name", "text"),
        2: Field("quant_parameter_tensor_names", "message", True, "StringStringEntryProto"),
    },
    "NodeProto": {
        1: Field("input", "text", True),
        2: Field("output", "text", True),
        3: Field("name", "text"),
        4: Field("op_type", "text"),
        5: Field("attribute", "message", True, "AttributeProto"),
        6: Field("doc_string", "text"),
        7: Field("domain", "text"),
        9: Field("metadata_props", "message", True, "StringStringEntryProto"),
    },
    "AttributeProto": {
        1: Field("name", "text"),
        2: Field("f", "float"),
        3: Field("i", "int64"),
        4: Field("s", "bytes"),
        5: Field("t", "message", of="TensorProto"),
        7: Field("floats", "floats"),
        8: Field("ints", "ints"),
        9: Field("strings", "bytes", True),
        13: Field("doc_string", "text"),
        20: Field("type", "int32"),
    },
    "TensorProto": {
        1: Field("dims", "ints"),
        2: Field("data_type", "int32"),
        4: Field("float_data", "floats"),
        5: Field("int32_data", "ints"),
        7: Field("int64_data", "ints"),
        8: Field("name", "text"),
        9: Field("raw_data", "bytes"),
        10: Field("double_data", "doubles"),
        11: Field("uint64_data", "ints"),
        12: Field("doc_string", "text"),
        13: Field("external_data", "message", True, "StringStringEntryProto"),
        14: Field("data_location", "int32"),
        16: Field("metadata_props", "message", True, "StringStringEntryProto"),
    },
    "ValueInfoProto": {
        1: Field("name", "text"),
        2: Field("type", "message", of="TypeProto"),
        3: Field("doc_string", "text"),
        4: Field("metadata_props", "message", True, "StringStringEntryProto"),
    },
    "TypeProto": {1: Field("tensor_type", "message", of="TensorType"), 6: Field("denotation", "text")},
    "TensorType": {1: Field("elem_type", "int32"), 2: Field("shape", "message", of="TensorShapeProto")},
    "TensorShapeProto": {1: Field("dim", "message", True, "Dimension")},
    "Dimension": {1: Field("dim_value", "int64"), 2: Field("dim_param", "text"), 3: Field("denotation", "text")},
}
