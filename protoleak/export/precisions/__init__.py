"""The precisions of a bundle besides fp32, and the gate that they must pass."""
