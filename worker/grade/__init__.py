"""Stage 2: from points to severities."""
