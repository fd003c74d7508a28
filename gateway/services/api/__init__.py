"""Serves the mCM API: /mcm/v1/images, /mcm/v1/containers and their logs."""
