"""The service: a REST API and a web page for any bundles, on ONNX Runtime alone."""
