"""Statistics on arrays: association under permutation, resampling, variances, multiplicity."""
