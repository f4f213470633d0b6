"""The experiment on the ring as PacGAN's paper has it: its networks, and its settings as recipes."""
