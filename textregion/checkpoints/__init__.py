"""Files of weights as data: read without trusting them, told apart by what is in them, and named by their values."""
