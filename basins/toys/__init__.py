"""Small models in which a theorem's claim can be checked completely. One file is one toy."""
