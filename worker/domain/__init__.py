"""The types that pass through the pipeline; see the module of each."""
