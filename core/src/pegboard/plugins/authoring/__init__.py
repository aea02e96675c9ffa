"""For those who write plugins: does the manifest agree with the code, write it from the code, use a folder in place."""
