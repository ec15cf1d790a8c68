"""The nouns that walk through the pipeline; see the module of each."""
