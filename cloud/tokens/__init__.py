"""mST: short-lived access tokens, and what they allow."""
