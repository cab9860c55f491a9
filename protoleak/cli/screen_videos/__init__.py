"""`protoleak screen` of videos: `run` screens the sources and hands what comes of them to the sinks."""
