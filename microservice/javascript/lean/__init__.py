"""Runs in the evaluator and its children, which import nothing but this folder.

Each fork copies what is loaded: the standard library's larger modules, the kit and its dependencies
would double the time of a request.
"""
