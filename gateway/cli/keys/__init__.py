"""Makes certificates for those who have none: `hecate keys make`."""
