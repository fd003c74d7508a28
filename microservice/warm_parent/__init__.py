"""Forks the processes of containers: `python -I -m microservice.warm_parent FD FOLDER`."""
