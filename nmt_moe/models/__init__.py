"""Translation and language models: stacked LSTMs with mixtures of experts between them.

Tensors inside the model are time-major: ``x_SBD`` for the source, ``x_LBD`` for what
is predicted, with ``S`` and ``L`` time steps, ``B`` sentences and width ``D``.

Here belong the networks, their options and the named architectures. Losses are in
:mod:`nmt_moe.criterions`, the layer of experts in :mod:`nmt_moe.moe`.
"""
