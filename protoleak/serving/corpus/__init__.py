"""Corpora: verdicts on millions of images, in parallel on one machine or a cluster, to Parquet (extra `corpus`).

settings     what to judge with, and what is to be judged            filesystems  local paths and addresses alike
listing      sources → inputs: files, members of tars, rows          reading      an input → encoded bytes
plan         the folder of results: inputs in blocks, one part each  table        records → Parquet
judge        one block: reads, judges, writes its part               monitor      signs of life from the workers
cluster      Ray: started, joined, ended; enough processors?         run          all of it, from sources to summary
summary      counts, intervals, false-discovery control
"""
