"""The tasks: what fairseq's own translation task cannot be configured to do."""
