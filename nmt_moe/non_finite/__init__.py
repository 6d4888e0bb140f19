"""NaN and Inf in a model: which tensor, which expert, and where in a pass they were first."""
