"""The science: data, features, models, training, search and analysis; knows nothing of queue, database or screen."""
