"""The command ``nmt-moe``: the arguments of each subcommand, and what it prints.

Nothing here imports torch, fairseq or numpy before a command runs, so that each ``--help`` answers
at once. The work is that of the packages below.
"""
