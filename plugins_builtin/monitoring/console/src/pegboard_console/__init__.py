"""Plain line output of pegboard runs."""
