"""What plain PyTorch would do too slowly: C for CPUs (``cpu``), Triton for GPUs (``gpu``).

Code belongs here that is only faster than torch's operations, for which it can be exchanged: it
knows tensors and their shapes, and neither modules nor options.
"""
