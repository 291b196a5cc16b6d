"""The values that rooms share: scenario, expectations, demand, result, span, priority, units."""
