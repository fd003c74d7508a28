"""Holds the programs that are measured beside microservices."""
