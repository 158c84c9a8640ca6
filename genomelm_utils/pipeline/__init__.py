"""How is it run? Parameters, graph, execution, receipts, report."""
