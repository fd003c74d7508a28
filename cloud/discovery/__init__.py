"""mDS: which nodes exist, whose they are, how to reach them."""
