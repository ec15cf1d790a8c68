"""What a person looks at: pictures of the graded slices, a page, a table, and JSON."""
