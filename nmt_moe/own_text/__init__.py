"""From a user's own parallel text to a scored model."""
