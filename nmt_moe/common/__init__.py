"""What every room may use: errors, files, ranges, languages. Imports no torch, no fairseq."""
