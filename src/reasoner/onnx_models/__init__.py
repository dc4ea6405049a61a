"""Models whose network is an ONNX file: written, proven equal, made smaller, read and run without PyTorch's."""
