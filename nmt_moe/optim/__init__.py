"""The paper's optimizer for experts and its schedule of the learning rate."""
