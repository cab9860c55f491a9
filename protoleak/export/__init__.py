"""From a trained PyTorch model to a bundle: exported graphs, the parity gate, calibration, measurements."""
