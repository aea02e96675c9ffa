"""The report: one value, and what is made of it: a page, a text, SARIF and JSON."""
