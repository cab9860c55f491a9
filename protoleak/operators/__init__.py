"""What happens to pictures on their way: compressions, crops, resizings and other operators, at five severities each.

The operators are those of WILD (arXiv 2504.19595), which post-processes half of its images by chains of one to three,
less its two that need networks of their own (super-resolution and JPEG-AI). They serve training, as augmentation, and
evaluation, as the question how far an answer survives. Pure functions: NumPy, Pillow and OpenCV only.
"""

from __future__ import annotations

from protoleak.operators.chains import Step, apply_chain, chain_name, draw_chain
from protoleak.operators.table import OPERATORS, SEVERITIES, Operator, apply

__all__ = ["OPERATORS", "SEVERITIES", "Operator", "Step", "apply", "apply_chain", "chain_name", "draw_chain"]
