"""Topology of sampled functions: arrays in, persistence out."""
