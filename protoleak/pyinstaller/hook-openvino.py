"""What OpenVINO opens by name, where no import shows it: its plugin for processors, and its readers of ONNX graphs and
of graphs that it compiled before. Its plugins for GPUs and the readers of other formats are not used here."""

from PyInstaller.utils.hooks import collect_dynamic_libs  # type: ignore[import-not-found,unused-ignore]

OPENED_BY_NAME = ["*openvino_*_cpu_plugin*", "*openvino_onnx_frontend*", "*openvino_ir_frontend*"]

binaries = collect_dynamic_libs("openvino", search_patterns=OPENED_BY_NAME)
