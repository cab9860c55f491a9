"""A model repository for NVIDIA Triton Inference Server: graphs with the noising inside, and the Python around them."""
