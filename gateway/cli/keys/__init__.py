"""Makes certificates: `hecate keys make`."""
