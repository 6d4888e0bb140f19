"""Kernels for CPUs in C, in float32 and int8, and the memory that they write into.

They are compiled when the package is installed. Where that was not possible, torch does their work.
"""
