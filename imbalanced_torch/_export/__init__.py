"""A fitted estimator as something to ship: a file without pickle, an ONNX graph, a model card."""
