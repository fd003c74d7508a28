"""Runs mDS, mSS with its relay, mST and mID in one process. Read app.py first."""
