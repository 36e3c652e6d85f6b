"""Built-in baselines, one small module a method."""
