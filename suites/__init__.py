"""Built-in suites, one folder each."""
