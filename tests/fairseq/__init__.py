"""What users of fairseq are used to, tried with our models and with fairseq's own."""
