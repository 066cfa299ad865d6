"""Networks as ONNX graphs and OpenVINO files, compared with torch."""
