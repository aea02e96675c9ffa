"""The files driver: folders that nothing leads out of."""
