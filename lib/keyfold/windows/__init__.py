"""Windows over a series: the kernel and its tiles."""
