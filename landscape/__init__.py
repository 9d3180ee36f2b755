"""Losses at points around a model: directions, points, evaluation, surfaces, features, checkpoints."""
