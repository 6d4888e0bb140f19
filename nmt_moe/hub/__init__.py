"""Trained models as fairseq's users have them in Python: ``from_pretrained`` and torch.hub.

Opening a checkpoint is in :mod:`nmt_moe.trained`; here belongs how a folder is searched
(:mod:`~nmt_moe.hub.files`), what text a model reads (:mod:`~nmt_moe.hub.text`), and fairseq's
interface to it (:mod:`~nmt_moe.hub.interface`).
"""
