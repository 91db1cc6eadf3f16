"""A rendered picture-book world, and the training of the miniature models that know it; run from the checkout."""
