"""The command `lumbar`: a thin shell, one function per verb."""
