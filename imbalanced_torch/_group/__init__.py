"""One fit over many processes: everything that talks to torch.distributed."""
