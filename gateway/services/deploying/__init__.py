"""Parts of a deployment: the table of containers, queued versions, images, the start."""
