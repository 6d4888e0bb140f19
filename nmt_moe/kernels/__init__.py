"""What plain PyTorch would do too slowly: C for CPUs (``cpu``), Triton for GPUs (``gpu``).

Code belongs here that is only faster than torch's operations, for which it can be exchanged: it
knows tensors and their shapes, and neither modules nor options. What a layer's forward pass calls
is an operator of torch (``operators``), which ``torch.compile`` and ``torch.export`` take as it is.
"""
