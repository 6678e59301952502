"""What is measured: the table of every metric, who counts it, and the page that documents it."""
