"""Beyond one machine's command line: services that answer, and corpora of millions of images.

corpus/     millions of images on Ray Data, to Parquet
"""
