"""Learning-rate schedulers steered by measurements of the loss landscape."""
