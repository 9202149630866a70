"""Small worlds in which a theorem's claim can be checked in full. One file is one toy."""
