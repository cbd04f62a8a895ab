"""Copies a study from the database to other programs, one way: TensorBoard, MLflow, Weights & Biases."""
