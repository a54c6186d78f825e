"""Files of what a net has learned, and pickles that know the version that wrote them."""
