"""Do it: targets through their life, lanes side by side, and the drain on a stop."""
