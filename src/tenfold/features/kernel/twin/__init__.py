"""The kernel's optional twin: the same bits, swept by compiled code in the order asked."""
