"""Where plugins really run; each tier is a folder and knows nothing of its siblings."""
