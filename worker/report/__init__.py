"""The outputs of a graded study: images, HTML page, terminal tables, JSON and SR."""
