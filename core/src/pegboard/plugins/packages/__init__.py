"""Distributions of plugins: fetched, looked into, installed and taken out again, tried in a process of their own."""
