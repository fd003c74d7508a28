"""mSS: requests to nodes over their SEP, and the placing of BEPs."""
