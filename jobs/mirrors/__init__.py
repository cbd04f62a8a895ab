"""Copies of a study for other programs, one way: TensorBoard, MLflow and Weights & Biases, read from the database."""
