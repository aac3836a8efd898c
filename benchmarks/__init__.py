"""Benchmarks: named workloads, each with the bare loop and gigq 0.5.1 beside it in the same run.

``python -m benchmarks --help`` says how; BENCHMARKS.md says what the figures mean.
"""
