"""The back end: mDS, mSS with its relay, mST and mID in one process; read app.py first."""
