"""What a model costs, before it is trained: operations, parameters, memory, network.

All of it is read from the model's modules, built on PyTorch's meta device, where a tensor has a
shape but no memory: 137 billion parameters are counted as fast as one million.
"""
