"""`protoleak screen` of images: `run` judges one after another and hands the records to `outputs` and the terminal."""
