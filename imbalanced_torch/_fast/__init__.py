"""The same numbers sooner: steps without autograd's graph and without the optimizer's Python. Optional."""
