"""The outside world, one library to a file: HTTP, Azure identity, logs."""
