"""The optimizer for many experts (appendix D) and the learning rate's schedule (appendix E)."""
