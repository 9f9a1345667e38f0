"""One block, one pass: the only place that knows the order of things."""
