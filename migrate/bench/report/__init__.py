"""Results as one page: what is drawn, the plots, where we lose, the tables."""
