"""Metrics: what is counted, how, and how the counts of several processes become one. Pure.

definitions   every family: its name, meaning, labels and buckets
snapshot      the values of all families at one moment, and the sum of several snapshots
meter         counts records; reads the gauges
"""
