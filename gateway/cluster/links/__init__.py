"""Links this node to its peers: TLS, admission, frames, and the election over them."""
