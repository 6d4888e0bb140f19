"""What a run did, for people: its scores, its time, and how balanced its experts are."""
