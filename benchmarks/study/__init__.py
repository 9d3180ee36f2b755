"""Compare schedulers on real data: rates tuned on validation, losses read on test, every run one line of JSON."""
