"""Look at data without labels: features, clusters, and how they agree with classes where there are classes."""
