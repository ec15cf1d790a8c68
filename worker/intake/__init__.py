"""From stored objects to volumes: decode, repair, read headers, route, load."""
