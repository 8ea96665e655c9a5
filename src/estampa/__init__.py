"""estampa: from small labelled scientific images to a classifier that one can defend, serve and watch."""
