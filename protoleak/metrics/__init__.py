"""Measures: how well scores rank, how often verdicts are right, and how sure that is. One implementation for all.

classes         what a bundle names                     predictions what a variant predicted for some images: arrays
ranking         ranking metrics of weighted images      scores      the same of images that all weigh one
intervals       Wilson's, and over resampled sources    measures    from predictions to a report
report          the numbers as plain values             false_discovery  findings among many p-values
merging         dependent p-values of one hypothesis    martingale  evidence of drift, readable at any time
"""
